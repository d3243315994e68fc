/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * O_DIRECT: offsets, lengths and addresses are multiples of f->align, the
 * "block" here.  Other requests go through a buffer; a write then reads the
 * blocks at its edges, and writes them back whole.
 *
 * Locks: whoever changes the file locks the blocks that it touches, so that
 * two writers which share a block lose nothing.  A write whose last block
 * sticks out of the file makes it too long and cuts it again: it locks all
 * blocks up to the largest offset, so that nothing is cut that others add.
 */
#include <errno.h>
#include <linux/fs.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../core/cleanup.h"
#include "../core/units.h"
#include "file.h"
#include "iov.h"

#define BLOCK_LEN_MIN 512u
#define BLOCK_LEN_MAX 65536u
#define BLOCK_LEN_ANY 4096u /* good for every file system, if nobody tells */
#define BOUNCE_LEN    (1024u * 1024u)

/* The shortest read that the file takes.  An empty one takes any. */
static int try_reads(struct hostfile *f, struct err *e)
{
	CLEANUP_FREE void *buf = NULL;
	uint32_t len;

	if (!host_size(f)) {
		f->align = BLOCK_LEN_ANY;
		return 0;
	}
	if (posix_memalign(&buf, BLOCK_LEN_MAX, BLOCK_LEN_MAX))
		return err_nomem(e);
	for (len = BLOCK_LEN_MIN; len <= BLOCK_LEN_MAX; len *= 2) {
		if (pread(f->fd, buf, len, 0) >= 0) {
			f->align = len;
			return 0;
		}
		if (errno != EINVAL)
			return host_fail(f, errno, "read", len, 0, e);
	}
	return err_unsupported(e,
	    "%s: O_DIRECT needs an alignment above %u bytes", f->name,
	    BLOCK_LEN_MAX);
}

int direct_probe(struct hostfile *f, bool device, struct err *e)
{
	int sector;

	if (!device || ioctl(f->fd, BLKSSZGET, &sector))
		return try_reads(f, e);
	if (sector < 1 || !is_pow2((unsigned)sector) ||
	    (unsigned)sector > BLOCK_LEN_MAX)
		return err_unsupported(
		    e, "%s: sectors of %d bytes", f->name, sector);
	f->align = (uint32_t)sector;
	return 0;
}

bool direct_fits(
    struct hostfile *f, const struct iovec *iov, int n, uint64_t off)
{
	return !(f->flags & HOST_DIRECT) ||
	       (is_aligned(off, f->align) && iov_aligned(iov, n, f->align));
}

void direct_lock(
    struct hostfile *f, struct range *r, uint64_t off, uint64_t len)
{
	uint64_t end = UINT64_MAX;

	if (!(f->flags & HOST_DIRECT))
		return;
	if (len != UINT64_MAX)
		end = round_up(off + len, f->align);
	range_lock(&posix_file(f)->blocks, r, round_down(off, f->align), end);
}

void direct_unlock(struct hostfile *f, struct range *r)
{
	if (f->flags & HOST_DIRECT)
		range_unlock(&posix_file(f)->blocks, r);
}

/* A buffer for [start, end), or for pieces of it. */
static uint8_t *bounce_new(uint64_t start, uint64_t end, struct err *e)
{
	void *buf;

	if (posix_memalign(
		&buf, BLOCK_LEN_MAX, min_u64(end - start, BOUNCE_LEN))) {
		err_nomem(e);
		return NULL;
	}
	return buf;
}

/* Whole blocks; zeroes past the end of the file. */
static int read_blocks(
    struct hostfile *f, uint8_t *buf, size_t len, uint64_t off, struct err *e)
{
	struct iovec iov = {buf, len};
	uint64_t done;
	int rc = iov_pread(f->fd, &iov, 1, off, f->align, &done);

	if (rc)
		return host_fail(f, rc, "read", len, off, e);
	memset(buf + done, 0, len - done);
	return 0;
}

int direct_readv(struct hostfile *f, const struct iovec *iov, int n,
    uint64_t off, struct err *e)
{
	CLEANUP_FREE uint8_t *buf = NULL;
	struct iov_walk to = {iov, n, 0};
	uint64_t len = 0, end, start, stop, last;

	iov_len(iov, n, &len);
	end = off + len;
	start = round_down(off, f->align);
	last = round_up(end, f->align);
	if (!(buf = bounce_new(start, last, e)))
		return -1;
	for (; start < last; start = off = stop) {
		stop = min_u64(start + BOUNCE_LEN, last);
		if (read_blocks(f, buf, stop - start, start, e))
			return -1;
		iov_put(&to, buf + (off - start), min_u64(stop, end) - off);
	}
	return 0;
}

/* What the blocks [start, stop) in `buf` hold outside of [off, end). */
static int read_edges(struct hostfile *f, uint8_t *buf, uint64_t start,
    uint64_t stop, uint64_t off, uint64_t end, struct err *e)
{
	uint64_t tail = stop - f->align;

	if (start < off && read_blocks(f, buf, f->align, start, e))
		return -1;
	if (stop <= end || (tail == start && start < off))
		return 0;
	return read_blocks(f, buf + (tail - start), f->align, tail, e);
}

/* Under the lock of its blocks. */
static int write_bounced(struct hostfile *f, struct iov_walk *from,
    uint64_t off, uint64_t end, struct err *e)
{
	CLEANUP_FREE uint8_t *buf = NULL;
	uint64_t start = round_down(off, f->align), stop;
	uint64_t last = round_up(end, f->align);
	struct iovec block;
	int rc;

	if (!(buf = bounce_new(start, last, e)))
		return -1;
	for (; start < last; start = off = stop) {
		stop = min_u64(start + BOUNCE_LEN, last);
		if (read_edges(f, buf, start, stop, off, end, e))
			return -1;
		iov_get(from, buf + (off - start), min_u64(stop, end) - off);
		block.iov_base = buf;
		block.iov_len = stop - start;
		rc = iov_pwrite(f->fd, &block, 1, SIZE_MAX, start);
		if (rc)
			return host_fail(f, rc, "write", end - off, off, e);
	}
	return 0;
}

/* The same where the last block may stick out of the file. */
static int write_tail(struct hostfile *f, struct iov_walk *from, uint64_t off,
    uint64_t end, struct err *e)
{
	struct stat st;
	off_t keep;
	int rc;

	if (fstat(f->fd, &st))
		return host_fail(f, errno, "write", end - off, off, e);
	keep = (off_t)max_u64((uint64_t)st.st_size, end);
	rc = write_bounced(f, from, off, end, e);
	if (!fstat(f->fd, &st) && st.st_size > keep && ftruncate(f->fd, keep))
		rc = host_fail(f, errno, "write", end - off, off, e);
	return rc;
}

int direct_writev(struct hostfile *f, const struct iovec *iov, int n,
    uint64_t off, struct err *e)
{
	struct iov_walk from = {iov, n, 0};
	uint64_t len = 0, end;
	struct range r;
	bool tail;
	int rc;

	iov_len(iov, n, &len);
	end = off + len;
	tail = !is_aligned(end, f->align) &&
	       round_up(end, f->align) > host_size(f);
	direct_lock(f, &r, off, tail ? UINT64_MAX : len);
	rc = tail ? write_tail(f, &from, off, end, e)
		  : write_bounced(f, &from, off, end, e);
	direct_unlock(f, &r);
	return rc;
}
