/* SPDX-License-Identifier: BSD-3-Clause */
/* Storage in whole blocks: see blocks.h. */
#include <stdlib.h>

#include "../core/cleanup.h"
#include "../core/units.h"
#include "blocks.h"
#include "iov.h"

#define BOUNCE_ALIGN 65536u /* the largest block there is */
#define BOUNCE_LEN   (1024u * 1024u)

/* A buffer for [start, end), or for pieces of it. */
static uint8_t *bounce_new(uint64_t start, uint64_t end, struct err *e)
{
	void *buf;

	if (posix_memalign(
		&buf, BOUNCE_ALIGN, min_u64(end - start, BOUNCE_LEN))) {
		err_nomem(e);
		return NULL;
	}
	return buf;
}

/* What the blocks [start, stop) in `buf` hold outside of [off, end). */
static int read_edges(struct hostfile *f, const struct block_io *io,
    uint8_t *buf, uint64_t start, uint64_t stop, uint64_t off, uint64_t end,
    struct err *e)
{
	uint64_t tail = stop - f->align;

	if (start < off && io->read(f, buf, f->align, start, e))
		return -1;
	if (stop <= end || (tail == start && start < off))
		return 0;
	return io->read(f, buf + (tail - start), f->align, tail, e);
}

/* The blocks of [off, off + len of iov), a buffer at a time. */
static int transfer(struct hostfile *f, const struct block_io *io, bool write,
    const struct iovec *iov, int n, uint64_t off, struct err *e)
{
	CLEANUP_FREE uint8_t *buf = NULL;
	struct iov_walk walk = {iov, n, 0};
	uint64_t len = 0, end, start, stop, last;

	iov_len(iov, n, &len);
	end = off + len;
	start = round_down(off, f->align);
	last = round_up(end, f->align);
	if (!(buf = bounce_new(start, last, e)))
		return -1;
	for (; start < last; start = off = stop) {
		stop = min_u64(start + BOUNCE_LEN, last);
		len = min_u64(stop, end) - off;
		if (write ? read_edges(f, io, buf, start, stop, off, end, e)
			  : io->read(f, buf, stop - start, start, e))
			return -1;
		if (!write) {
			iov_put(&walk, buf + (off - start), len);
			continue;
		}
		iov_get(&walk, buf + (off - start), len);
		if (io->write(f, buf, stop - start, start, e))
			return -1;
	}
	return 0;
}

int blocks_readv(struct hostfile *f, const struct block_io *io,
    const struct iovec *iov, int n, uint64_t off, struct err *e)
{
	return transfer(f, io, false, iov, n, off, e);
}

int blocks_writev(struct hostfile *f, const struct block_io *io,
    const struct iovec *iov, int n, uint64_t off, struct err *e)
{
	return transfer(f, io, true, iov, n, off, e);
}
