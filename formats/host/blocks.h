/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Requests of any offset and length on storage that takes whole blocks of
 * f->align bytes: through a buffer.  A write reads the blocks at its edges and
 * writes them back whole, so the caller locks the blocks that it touches.
 */
#ifndef IMGD_BLOCKS_H
#define IMGD_BLOCKS_H

#include "hostfile.h"

/* Whole blocks; buf is aligned. */
struct block_io {
	int (*read)(struct hostfile *, void *buf, size_t len, uint64_t off,
	    struct err *);
	int (*write)(struct hostfile *, void *buf, size_t len, uint64_t off,
	    struct err *);
};

int blocks_readv(struct hostfile *f, const struct block_io *io,
    const struct iovec *iov, int n, uint64_t off, struct err *e);
int blocks_writev(struct hostfile *f, const struct block_io *io,
    const struct iovec *iov, int n, uint64_t off, struct err *e);

#endif
