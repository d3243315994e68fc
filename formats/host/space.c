/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Space of a regular file or device: holes, discard, zeroing, preallocation,
 * copies inside the kernel.  What a file system cannot do is asked once.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "../core/units.h"
#include "file.h"

#define CLONE_UNIT_MAX (1l << 20)

/* ---- holes --------------------------------------------------------------- */

/*
 * To say where data ends can cost as much as to read it all (tmpfs looks at
 * each page), and reads ask that again and again.  So the last run of data is
 * kept; that it is data is never wrong.  What we ourselves do to space makes it
 * forgotten, and an answer that came meanwhile is not kept.
 */

/* The end of the run that is at `off`; 0: not known. */
static uint64_t seen_end(struct seen *s, uint64_t off, unsigned *serial)
{
	uint64_t end;

	mutex_lock(&s->lock);
	*serial = s->serial;
	end = off >= s->off && off < s->end ? s->end : 0;
	mutex_unlock(&s->lock);
	return end;
}

static void see(struct seen *s, uint64_t off, uint64_t end, unsigned serial)
{
	mutex_lock(&s->lock);
	if (serial == s->serial) {
		s->off = off;
		s->end = end;
	}
	mutex_unlock(&s->lock);
}

void file_forget(struct hostfile *f)
{
	struct seen *s = &posix_file(f)->seen;

	mutex_lock(&s->lock);
	s->serial++;
	s->off = s->end = 0;
	mutex_unlock(&s->lock);
}

/*
 * Two questions, and the file may change between them: an answer that makes
 * no sense then says data, which is never wrong.
 */
static void ask(
    struct hostfile *f, uint64_t off, struct host_extent *x, unsigned serial)
{
	off_t start = (off_t)off, data = lseek(f->fd, start, SEEK_DATA), hole;

	if (data == start) {
		hole = lseek(f->fd, start, SEEK_HOLE);
		if (hole <= start)
			return;
		x->len = (uint64_t)(hole - start);
		see(&posix_file(f)->seen, off, (uint64_t)hole, serial);
	} else if (data > start) {
		x->hole = true;
		x->len = (uint64_t)(data - start);
	} else if (data < 0 && errno == ENXIO) {
		x->hole = true;
	}
}

int file_map(struct hostfile *f, uint64_t off, uint64_t len,
    struct host_extent *x, struct err *e)
{
	unsigned serial;
	uint64_t end = seen_end(&posix_file(f)->seen, off, &serial);

	(void)e;
	x->hole = false;
	x->len = end ? end - off : len;
	if (!end)
		ask(f, off, x, serial);
	return 0;
}

/* ---- changes ------------------------------------------------------------- */

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
	file_forget(f);
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

/* The bytes cannot go from file to file; they can through memory. */
static bool refused(int errnum)
{
	switch (errnum) {
	case EXDEV:
	case EOPNOTSUPP:
	case ENOSYS:
	case ENOTTY:
	case EINVAL:
	case EBADF:
	case EPERM:
	case ETXTBSY:
		return true;
	}
	return false;
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
	file_forget(dst);
	direct_unlock(dst, &r);
	if (!rc)
		return got;
	return refused(rc) ? 0 : host_fail(dst, rc, "copy", len, dst_off, e);
}

/* An errno, or 0.  A length of 0 stands for all up to the end. */
static int clone_range(struct hostfile *dst, uint64_t dst_off,
    struct hostfile *src, uint64_t src_off, uint64_t len)
{
	const struct file_clone_range arg = {.src_fd = src->fd,
	    .src_offset = src_off,
	    .src_length = len,
	    .dest_offset = dst_off};
	int rc;

	do
		rc = ioctl(dst->fd, FICLONERANGE, &arg) ? errno : 0;
	while (rc == EINTR);
	return rc;
}

/*
 * To clone what follows the end of src, which is nothing, tells whether these
 * two files can.  The offset in dst is one that nothing can be cloned to, in
 * case that src grows meanwhile.
 */
uint32_t file_clone_unit(struct hostfile *dst, struct hostfile *src)
{
	struct statfs fs;

	if (src->ops != dst->ops || dst->fixed_size || fstatfs(dst->fd, &fs) ||
	    clone_range(dst, 1, src, host_size(src), 0))
		return 0;
	return is_pow2((uint64_t)fs.f_bsize) && fs.f_bsize <= CLONE_UNIT_MAX
		   ? (uint32_t)fs.f_bsize
		   : 0;
}

int file_clone(struct hostfile *dst, uint64_t dst_off, struct hostfile *src,
    uint64_t src_off, uint64_t len, struct err *e)
{
	struct range r;
	int rc;

	if (src->ops != dst->ops)
		return 0;
	direct_lock(dst, &r, dst_off, len);
	rc = clone_range(dst, dst_off, src, src_off, len);
	file_forget(dst);
	direct_unlock(dst, &r);
	if (!rc)
		return 1;
	return refused(rc) ? 0 : host_fail(dst, rc, "clone", len, dst_off, e);
}
