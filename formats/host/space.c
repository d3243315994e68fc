/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Space of a regular file or device: holes, discard, zeroing, preallocation,
 * copies inside the kernel.  What a file system cannot do is asked once.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <unistd.h>

#include "../core/units.h"
#include "file.h"

/*
 * Two questions, and the file may change between them: an answer that makes
 * no sense then says data, which is never wrong.
 */
int file_map(struct hostfile *f, uint64_t off, uint64_t len,
    struct host_extent *x, struct err *e)
{
	off_t start = (off_t)off, data = lseek(f->fd, start, SEEK_DATA), hole;

	(void)e;
	x->hole = false;
	x->len = len;
	if (data == start) {
		hole = lseek(f->fd, start, SEEK_HOLE);
		if (hole > start)
			x->len = (uint64_t)(hole - start);
	} else if (data > start) {
		x->hole = true;
		x->len = (uint64_t)(data - start);
	} else if (data < 0 && errno == ENXIO) {
		x->hole = true;
	}
	return 0;
}

/* fallocate(): 1 done, 0 it cannot be done here, -1 failed. */
static int change_space(struct hostfile *f, int mode, const char *verb,
    uint64_t off, uint64_t len, _Atomic bool *never, struct err *e)
{
	struct range r;
	int rc;

	if (atomic_load(never))
		return 0;
	direct_lock(f, &r, off, len);
	do
		rc = fallocate(f->fd, mode, (off_t)off, (off_t)len) ? errno : 0;
	while (rc == EINTR);
	direct_unlock(f, &r);
	if (!rc)
		return 1;
	if (rc == EOPNOTSUPP || rc == ENOSYS || rc == ENODEV) {
		atomic_store(never, true);
		return 0;
	}
	/* A device wants whole sectors. */
	if (rc == EINVAL && f->fixed_size)
		return 0;
	return host_fail(f, rc, verb, len, off, e);
}

int file_punch(struct hostfile *f, uint64_t off, uint64_t len, struct err *e)
{
	return change_space(f, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
	    "discard", off, len, &posix_file(f)->no_punch, e);
}

int file_zero(struct hostfile *f, uint64_t off, uint64_t len, struct err *e)
{
	return change_space(f, FALLOC_FL_ZERO_RANGE, "zero", off, len,
	    &posix_file(f)->no_zero, e);
}

int file_allocate(struct hostfile *f, uint64_t off, uint64_t len, struct err *e)
{
	return change_space(
	    f, 0, "allocate", off, len, &posix_file(f)->no_allocate, e);
}

int64_t file_copy_from(struct hostfile *dst, uint64_t dst_off,
    struct hostfile *src, uint64_t src_off, uint64_t len, struct err *e)
{
	off_t in = (off_t)src_off, out = (off_t)dst_off;
	struct range r;
	ssize_t got;
	int rc = 0;

	if (src->ops != dst->ops)
		return 0;
	direct_lock(dst, &r, dst_off, len);
	do
		got = copy_file_range(src->fd, &in, dst->fd, &out, len, 0);
	while (got < 0 && errno == EINTR);
	if (got < 0)
		rc = errno;
	direct_unlock(dst, &r);
	switch (rc) {
	case 0:
		return got;
	case EXDEV:
	case EOPNOTSUPP:
	case ENOSYS:
	case EINVAL:
	case EBADF:
	case EPERM:
	case ETXTBSY:
		return 0;
	}
	return host_fail(dst, rc, "copy", len, dst_off, e);
}
