/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Many reads at a time: at once from the page cache where it has the bytes,
 * the others together through io_uring where the build and the kernel have it.
 */
#ifndef IMGD_HOST_MANY_H
#define IMGD_HOST_MANY_H

#include "hostfile.h"

struct many_read {
	struct hostfile *file;
	void *buf;
	size_t len; /* > 0 */
	uint64_t off;
	bool done; /* set: all bytes are in buf */
};

/* All bytes, without waiting for storage; false: not all, read them again. */
bool many_cached(
    struct hostfile *f, const struct iovec *iov, int n, uint64_t off);
/* Is all of [off, off + len) in the page cache, as far as the system tells?
 * Then f->fd has it at the same offset. */
bool many_resident(const struct hostfile *f, uint64_t len, uint64_t off);
/*
 * Run all at the same time and wait for the last.  What is not `done` after
 * (no ring, a short read, an error) is to be read with host_pread(), which
 * says what is wrong.  Any thread; each has a ring of its own.
 */
void many_run(struct many_read *r, size_t n);

#endif
