/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Where bytes live: a file, a block device, memory.
 *
 * A host file is an array of bytes with a size.  Reads past its end give
 * zeroes; writes past its end grow it (a device refuses with ENOSPC).  All
 * offsets and lengths are bytes and need no alignment: the implementation
 * uses bounce buffers where the storage wants more (O_DIRECT).
 *
 * Threads: every function may be called from several threads at once, except
 * that host_close() comes last.  Overlapping writes have no defined order; a
 * host_truncate() that shrinks must not run beside writes to what it cuts.
 * Errors: -1 with *e set; EINTR and short transfers never reach a caller.  A
 * write that fails leaves the size as it was.
 */
#ifndef IMGD_HOSTFILE_H
#define IMGD_HOSTFILE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "../core/err.h"
#include "../core/lock.h"

/* How a file is opened. */
#define HOST_RDWR   0x01u /* else read-only: writes fail with EBADF          */
#define HOST_DIRECT 0x02u /* O_DIRECT: around the page cache */
#define HOST_NOSYNC 0x04u /* host_sync() does nothing (cache=unsafe) */
#define HOST_DSYNC  0x08u /* each write is on disk when it returns           */
#define HOST_CREATE                                                            \
	0x10u		/* make it if it is not there (mode 0666 & ~umask)     \
			 */
#define HOST_EXCL 0x20u /* with HOST_CREATE: it must not be there          */
#define HOST_TRUNC                                                             \
	0x40u		   /* cut to 0 bytes, once write and resize are locked \
			    */
#define HOST_NOLOCK 0x80u  /* host_lock() does nothing (locking=off) */
#define HOST_DEPTH  0x100u /* a server is asked how deep its data lies */

#define HOST_CONNECTIONS(n)                                                    \
	((n) << 16) /* to a server at most; 0: what is usual            */

/*
 * Permissions, as bits, for host_lock(): QEMU's, in QEMU's order, so that
 * byte 100 + n and 200 + n of the file mean the same to both.
 */
#define HOST_PERM_READ		  0x1u /* consistent read */
#define HOST_PERM_WRITE		  0x2u
#define HOST_PERM_WRITE_UNCHANGED 0x4u
#define HOST_PERM_RESIZE	  0x8u
#define HOST_PERM_ALL		  0xfu

/* host_zero() */
#define HOST_ZERO_PUNCH 0x1u /* space may be given back */
#define HOST_ZERO_FAST	0x2u /* fail with ENOTSUP rather than write zeroes   */

struct hostfile;
struct many_io;
struct nbd_address;

/* What is at an offset. */
struct host_extent {
	uint64_t len; /* > 0; of this kind from the offset asked            */
	bool hole;    /* no space: reads as zeroes                           */
	bool zero;    /* reads as zeroes, perhaps with space                 */
	/* Of a server's image: the layer that has it (0: the top), or none. */
	bool nowhere;
	unsigned depth;
};

/*
 * What a kind of storage implements.  Arguments are already checked: off + len
 * does not overflow, len > 0, the file is writable where that is needed.
 */
struct host_ops {
	const char *name; /* "file", "host_device", "memory", ... */
	/* All of the iovec, or -1.  Only called below the file's size. */
	int (*readv)(struct hostfile *, const struct iovec *, int n,
	    uint64_t off, struct err *);
	int (*writev)(struct hostfile *, const struct iovec *, int n,
	    uint64_t off, struct err *);
	int (*sync)(struct hostfile *, struct err *);
	int (*truncate)(struct hostfile *, uint64_t size, struct err *);
	/* The rest may be NULL: then the generic answer is used.  map() is
	 * given an extent of data of that length. */
	int (*map)(struct hostfile *, uint64_t off, uint64_t len,
	    struct host_extent *, struct err *);
	/* 1 done, 0 cannot do it here, -1 failed.  Reads give zeroes after. */
	int (*punch)(
	    struct hostfile *, uint64_t off, uint64_t len, struct err *);
	/* 1 done, 0 cannot, -1 failed: give space back, the bytes do not
	 * matter any more.  NULL: punch() does it. */
	int (*discard)(
	    struct hostfile *, uint64_t off, uint64_t len, struct err *);
	/* 1 done (space kept), 0 cannot, -1 failed. */
	int (*zero)(
	    struct hostfile *, uint64_t off, uint64_t len, struct err *);
	/* zero(), or punch(), where it takes less time than writing; NULL:
	 * they do, unless slow_zero is set. */
	int (*zero_fast)(struct hostfile *, uint64_t off, uint64_t len,
	    bool punch, struct err *);
	/* 1 done, 0 cannot, -1 failed: reserve space without changing bytes */
	int (*allocate)(
	    struct hostfile *, uint64_t off, uint64_t len, struct err *);
	/* 1 done, 0 cannot, -1 failed: host_replace(). */
	int (*replace)(
	    struct hostfile *, const void *buf, size_t len, struct err *);
	/* Bytes copied inside the kernel, 0 when it cannot, -1 failed. */
	int64_t (*copy_from)(struct hostfile *dst, uint64_t dst_off,
	    struct hostfile *src, uint64_t src_off, uint64_t len, struct err *);
	/* host_clone_unit(), host_clone() */
	uint32_t (*clone_unit)(struct hostfile *dst, struct hostfile *src);
	int (*clone)(struct hostfile *dst, uint64_t dst_off,
	    struct hostfile *src, uint64_t src_off, uint64_t len, struct err *);
	int (*lock)(
	    struct hostfile *, unsigned perm, unsigned shared, struct err *);
	/* Those of the n transfers that are of this file, at the same time;
	 * sets `done`, and `failed` with *e.  The rest is done one by one. */
	void (*many)(
	    struct hostfile *, struct many_io *, size_t n, struct err *e);
	/* Hint: these bytes will be read soon. */
	void (*willneed)(struct hostfile *, uint64_t off, uint64_t len);
	/* Bytes of storage in use, or -1 when that cannot be told. */
	int64_t (*disk_len)(struct hostfile *);
	/* Frees what `priv` holds; 0 or -1 for a late write error. */
	int (*close)(struct hostfile *, struct err *);
};

struct hostfile {
	const struct host_ops *ops;
	void *priv;	/* of the implementation                     */
	char *name;	/* as the user gave it; for messages and info */
	unsigned flags; /* HOST_*                                    */
	/*
	 * For batched I/O, or -1: reads and writes below the size; a multiple
	 * of `align` in offset, length and address; HOST_DSYNC is the caller's.
	 */
	int fd;
	bool fixed_size;	 /* a device: cannot grow or shrink           */
	bool slow_zero;		 /* zeroing may take as long as writing       */
	bool remote;		 /* requests wait for another program         */
	bool in_memory;		 /* of a file system without storage          */
	uint32_t align;		 /* what the storage wants, bytes; >= 1       */
	struct rwlock size_lock; /* growing writes share it, truncate owns it */
	_Atomic uint64_t size;	 /* bytes; kept by this layer                 */
	_Atomic unsigned refs;
};

/* A regular file or block device.  NULL on failure. */
struct hostfile *host_open_file(
    const char *path, unsigned flags, struct err *e);
/* An export of an NBD server.  Takes over what *a points to, in any case. */
struct hostfile *host_open_nbd(
    struct nbd_address *a, unsigned flags, struct err *e);
/* `size` bytes of zeroes in memory (sparse: pages are made when written). */
struct hostfile *host_open_memory(
    const char *name, uint64_t size, struct err *e);

/*
 * For implementations: a host file with one reference and nothing open yet.
 * NULL with *e set when out of memory.
 */
struct hostfile *host_new(const struct host_ops *ops, const char *name,
    unsigned flags, struct err *e);

/* "NAME: could not VERB `len` bytes at `off`: " and the text of errnum; -1. */
int host_fail(struct hostfile *f, int errnum, const char *verb, uint64_t len,
    uint64_t off, struct err *e);

struct hostfile *host_ref(struct hostfile *f);
/*
 * Give up a reference; the last one closes.  -1 with *e set when the system
 * reports a late write error; the reference is gone in any case.
 */
int host_close(struct hostfile *f, struct err *e);
/* The same where an error no longer matters.  NULL is allowed. */
void host_put(struct hostfile *f);

static inline uint64_t host_size(const struct hostfile *f)
{
	return atomic_load_explicit(&f->size, memory_order_acquire);
}

int host_pread(
    struct hostfile *f, void *buf, size_t len, uint64_t off, struct err *e);
int host_pwrite(struct hostfile *f, const void *buf, size_t len, uint64_t off,
    struct err *e);
int host_preadv(struct hostfile *f, const struct iovec *iov, int n,
    uint64_t off, struct err *e);
int host_pwritev(struct hostfile *f, const struct iovec *iov, int n,
    uint64_t off, struct err *e);
/* What was written before the call is on stable storage after it. */
int host_sync(struct hostfile *f, struct err *e);
int host_truncate(struct hostfile *f, uint64_t size, struct err *e);
/* Grow to at least `size`; does nothing when it is that large already. */
int host_grow(struct hostfile *f, uint64_t size, struct err *e);
/*
 * The file gets these contents and no others, durable.  Where the storage can
 * do it, all at once: a crash leaves what was there or what is to be.  No other
 * call runs, and nobody has the file open apart from this handle.
 */
int host_replace(
    struct hostfile *f, const void *buf, size_t len, struct err *e);
/*
 * Data or hole at `off` (below the size), at most `len` bytes.  Storage that
 * cannot tell says data.
 */
int host_map(struct hostfile *f, uint64_t off, uint64_t len,
    struct host_extent *x, struct err *e);
/*
 * Give back the space of a range if the storage can; a range past the end is
 * cut.  1 done: reads give zeroes; 0 not done, and nothing changed.
 */
int host_punch(struct hostfile *f, uint64_t off, uint64_t len, struct err *e);
/* The same where the bytes do not matter any more: zeroes or the old ones. */
int host_discard(struct hostfile *f, uint64_t off, uint64_t len, struct err *e);
/* Make a range read as zeroes; HOST_ZERO_* in flags.  Grows the file. */
int host_zero(struct hostfile *f, uint64_t off, uint64_t len, unsigned flags,
    struct err *e);
/*
 * Reserve space, so that later writes do not fail with ENOSPC.  Grows the
 * file.  Where the storage cannot, ENOTSUP.
 */
int host_allocate(
    struct hostfile *f, uint64_t off, uint64_t len, struct err *e);
/*
 * Copy inside the kernel, which moves the data on most file systems.  Returns
 * the bytes done from the start (may be fewer than len), 0 when it cannot be
 * done here (use read and write), -1 on failure.
 */
int64_t host_copy(struct hostfile *dst, uint64_t dst_off, struct hostfile *src,
    uint64_t src_off, uint64_t len, struct err *e);
/*
 * Can blocks of src become blocks of dst too, which moves no data and takes no
 * space?  What offsets and lengths are multiples of then, bytes; 0: no.
 */
uint32_t host_clone_unit(struct hostfile *dst, struct hostfile *src);
/* 1 all of it shares its blocks now; 0 it cannot be done, and nothing changed;
 * -1 failed.  What lies past the end of src cannot. */
int host_clone(struct hostfile *dst, uint64_t dst_off, struct hostfile *src,
    uint64_t src_off, uint64_t len, struct err *e);
/*
 * Hold `perm` and let others hold only `shared`; replaces what was held.  A
 * conflict is `Failed to get "write" lock` or `Failed to get shared "write"
 * lock`, with a hint that names the holder where the system tells.
 */
int host_lock(
    struct hostfile *f, unsigned perm, unsigned shared, struct err *e);
void host_willneed(struct hostfile *f, uint64_t off, uint64_t len);
int64_t host_disk_len(struct hostfile *f);

#endif
