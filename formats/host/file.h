/* SPDX-License-Identifier: BSD-3-Clause */
/* What the parts of the POSIX host file share: file, space, direct, lock. */
#ifndef IMGD_HOST_FILE_H
#define IMGD_HOST_FILE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "../core/range.h"
#include "hostfile.h"

/* The run of data that was seen last: see space.c. */
struct seen {
	struct mutex lock; /* for what follows */
	uint64_t off, end; /* off == end: none */
	unsigned serial;   /* how often space was changed */
};

struct posix_file {
	/* The system or the file system said that it cannot. */
	_Atomic bool no_punch, no_zero, no_allocate;
	struct range_locks blocks; /* O_DIRECT: see direct.c */
	struct mutex lock;	   /* for what follows */
	bool sync_failed;
	unsigned locked; /* bytes that we hold: see lock.c */
	struct seen seen;
};

static inline struct posix_file *posix_file(struct hostfile *f)
{
	return f->priv;
}

/* direct.c */
int direct_probe(struct hostfile *f, bool device, struct err *e);
/* Can the system take this request as it is? */
bool direct_fits(
    struct hostfile *f, const struct iovec *iov, int n, uint64_t off);
/* The rest, through a buffer. */
int direct_readv(struct hostfile *f, const struct iovec *iov, int n,
    uint64_t off, struct err *e);
int direct_writev(struct hostfile *f, const struct iovec *iov, int n,
    uint64_t off, struct err *e);
/* Around every other change of [off, off + len); UINT64_MAX: to any offset.
 * No effect without O_DIRECT. */
void direct_lock(
    struct hostfile *f, struct range *r, uint64_t off, uint64_t len);
void direct_unlock(struct hostfile *f, struct range *r);

/* space.c */
/* What was data may be a hole now. */
void file_forget(struct hostfile *f);
int file_map(struct hostfile *f, uint64_t off, uint64_t len,
    struct host_extent *x, struct err *e);
int file_punch(struct hostfile *f, uint64_t off, uint64_t len, struct err *e);
int file_zero(struct hostfile *f, uint64_t off, uint64_t len, struct err *e);
int file_allocate(
    struct hostfile *f, uint64_t off, uint64_t len, struct err *e);
int64_t file_copy_from(struct hostfile *dst, uint64_t dst_off,
    struct hostfile *src, uint64_t src_off, uint64_t len, struct err *e);
uint32_t file_clone_unit(struct hostfile *dst, struct hostfile *src);
int file_clone(struct hostfile *dst, uint64_t dst_off, struct hostfile *src,
    uint64_t src_off, uint64_t len, struct err *e);

/* lock.c */
int lock_set(struct hostfile *f, unsigned perm, unsigned shared, struct err *e);
/* The same locks as the file has, for what is to take its place. */
int lock_copy(struct hostfile *f, int fd, struct err *e);

/* replace.c */
int file_replace(
    struct hostfile *f, const void *buf, size_t len, struct err *e);

/* holder.c: who has a file lock on this byte of the file?  Fills `text` with
 * "process PID (NAME)", "" when the system does not tell. */
void holder_find(struct hostfile *f, uint64_t byte, char *text, size_t len);

#endif
