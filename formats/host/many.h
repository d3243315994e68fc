/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Many transfers at a time: reads at once from the page cache where it has the
 * bytes; the others together, by what the kind of storage has for that, or
 * through io_uring where the build and the kernel have it.
 */
#ifndef IMGD_HOST_MANY_H
#define IMGD_HOST_MANY_H

#include "hostfile.h"

struct many_io {
	struct hostfile *file;
	void *buf;  /* a write does not change it */
	size_t len; /* > 0 */
	uint64_t off;
	bool write;
	bool done;   /* set: all bytes were moved */
	bool failed; /* set: it is no use to try again */
};

/* All bytes, without waiting for storage; false: not all, read them again. */
bool many_cached(
    struct hostfile *f, const struct iovec *iov, int n, uint64_t off);
/* Is all of [off, off + len) in the page cache, as far as the system tells?
 * Then f->fd has it at the same offset. */
bool many_resident(const struct hostfile *f, uint64_t len, uint64_t off);
/* Can writes of this file run with others in many_run()? */
static inline bool many_writes(const struct hostfile *f)
{
	return f->ops->many && !(f->flags & HOST_DSYNC);
}
/*
 * Run all at the same time and wait for the last.  What is not `done` after
 * (no ring, a short read, an error) is to be done with host_pread() or
 * host_pwrite(), which says what is wrong; *e says it of what has `failed`. Any
 * thread; each has a ring of its own.
 */
void many_run(struct many_io *io, size_t n, struct err *e);

#endif
