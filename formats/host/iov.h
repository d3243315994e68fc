/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Lists of buffers: length, pieces in order, and whole transfers between a
 * list and a file descriptor.
 */
#ifndef IMGD_IOV_H
#define IMGD_IOV_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

/* A position in a list; starts as { iov, n, 0 }. */
struct iov_walk {
	const struct iovec *iov;
	int n;	     /* buffers from iov on */
	size_t skip; /* bytes of iov[0] that are behind */
};

/* Bytes of the list; false when that is more than INT64_MAX. */
bool iov_len(const struct iovec *iov, int n, uint64_t *len);
/* Are all addresses and lengths multiples of `align`? */
bool iov_aligned(const struct iovec *iov, int n, uint32_t align);
/*
 * The next piece, in one buffer, of at most `max` bytes: its length, 0 at the
 * end of the list.
 */
size_t iov_next(struct iov_walk *w, size_t max, uint8_t **piece);
/* Move `len` bytes between buf and the list, from its position on. */
void iov_get(struct iov_walk *w, void *buf, size_t len);
void iov_put(struct iov_walk *w, const void *buf, size_t len);
/* Zero the rest of the list. */
void iov_put_zeroes(struct iov_walk *w);

/*
 * All of a list, in as many system calls as it takes.  0 or an errno value.
 * A read stops at the end of the file, where a call moves nothing or no
 * multiple of `align`; *done says how much there was.
 */
int iov_pread(int fd, const struct iovec *iov, int n, uint64_t off,
    uint32_t align, uint64_t *done);
/* A buffer longer than `max` takes several calls. */
int iov_pwrite(
    int fd, const struct iovec *iov, int n, size_t max, uint64_t off);

#endif
