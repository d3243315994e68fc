/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * O_DIRECT: offsets, lengths and addresses are multiples of f->align, the
 * "block" here.  Other requests go through a buffer: see blocks.h.
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
#include "blocks.h"
#include "file.h"
#include "iov.h"

#define BLOCK_LEN_MIN 512u
#define BLOCK_LEN_MAX 65536u
#define BLOCK_LEN_ANY 4096u /* good for every file system, if nobody tells */

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

/* Zeroes past the end of the file. */
static int read_blocks(
    struct hostfile *f, void *buf, size_t len, uint64_t off, struct err *e)
{
	struct iovec iov = {buf, len};
	uint64_t done;
	int rc = iov_pread(f->fd, &iov, 1, off, f->align, &done);

	if (rc)
		return host_fail(f, rc, "read", len, off, e);
	memset((uint8_t *)buf + done, 0, len - done);
	return 0;
}

static int write_blocks(
    struct hostfile *f, void *buf, size_t len, uint64_t off, struct err *e)
{
	struct iovec iov = {buf, len};
	int rc = iov_pwrite(f->fd, &iov, 1, SIZE_MAX, off);

	return rc ? host_fail(f, rc, "write", len, off, e) : 0;
}

static const struct block_io direct_io = {read_blocks, write_blocks};

int direct_readv(struct hostfile *f, const struct iovec *iov, int n,
    uint64_t off, struct err *e)
{
	return blocks_readv(f, &direct_io, iov, n, off, e);
}

/* The last block may stick out of the file.  Under the lock of all blocks. */
static int write_tail(struct hostfile *f, const struct iovec *iov, int n,
    uint64_t off, uint64_t end, struct err *e)
{
	struct stat st;
	off_t keep;
	int rc;

	if (fstat(f->fd, &st))
		return host_fail(f, errno, "write", end - off, off, e);
	keep = (off_t)max_u64((uint64_t)st.st_size, end);
	rc = blocks_writev(f, &direct_io, iov, n, off, e);
	if (!fstat(f->fd, &st) && st.st_size > keep && ftruncate(f->fd, keep))
		rc = host_fail(f, errno, "write", end - off, off, e);
	return rc;
}

int direct_writev(struct hostfile *f, const struct iovec *iov, int n,
    uint64_t off, struct err *e)
{
	uint64_t len = 0, end;
	struct range r;
	bool tail;
	int rc;

	iov_len(iov, n, &len);
	end = off + len;
	tail = !is_aligned(end, f->align) &&
	       round_up(end, f->align) > host_size(f);
	direct_lock(f, &r, off, tail ? UINT64_MAX : len);
	rc = tail ? write_tail(f, iov, n, off, end, e)
		  : blocks_writev(f, &direct_io, iov, n, off, e);
	direct_unlock(f, &r);
	return rc;
}
