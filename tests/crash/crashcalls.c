/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The system calls of a program whose files are in a folder that can lose
 * power, see crashdir.h: __real_NAME is the call, __wrap_NAME what the program
 * calls instead.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/uio.h>
#include <unistd.h>

#include "check.h"
#include "crashdir.h"
#include "formats/core/units.h"

#define WRAPPED(type, name, args)                                              \
	type __real_##name args;                                               \
	type __wrap_##name args;                                               \
	type __wrap_##name args

/* ---- names --------------------------------------------------------------- */

WRAPPED(int, open64, (const char *path, int flags, ...))
{
	va_list more;
	int fd;

	va_start(more, flags);
	fd = __real_open64(
	    path, flags, flags & O_CREAT ? va_arg(more, mode_t) : 0);
	va_end(more);
	if (flags & O_CREAT)
		crashdir_opened(fd, path);
	return fd;
}

WRAPPED(int, mkostemp64, (char *pattern, int flags))
{
	int fd = __real_mkostemp64(pattern, flags);

	crashdir_opened(fd, pattern);
	return fd;
}

WRAPPED(int, rename, (const char *from, const char *to))
{
	int rc = __real_rename(from, to);

	if (!rc)
		crashdir_renamed(from, to);
	return rc;
}

WRAPPED(int, unlink, (const char *path))
{
	int rc = __real_unlink(path);

	if (!rc)
		crashdir_removed(path);
	return rc;
}

/* ---- contents ------------------------------------------------------------ */

WRAPPED(ssize_t, pwritev64, (int fd, const struct iovec *iov, int n, off_t off))
{
	struct hostfile *f = crashdir_file(fd);
	ssize_t done = __real_pwritev64(fd, iov, n, off), left = done;
	struct err e = ERR_INIT;

	for (int i = 0; f && left > 0; i++) {
		size_t len = min_u64(iov[i].iov_len, (uint64_t)left);

		assert_ok(host_pwrite(f, iov[i].iov_base, len,
			      (uint64_t)(off + done - left), &e),
		    &e);
		left -= (ssize_t)len;
	}
	return done;
}

WRAPPED(int, ftruncate64, (int fd, off_t size))
{
	struct hostfile *f = crashdir_file(fd);
	int rc = __real_ftruncate64(fd, size);
	struct err e = ERR_INIT;

	if (f && !rc)
		assert_ok(host_truncate(f, (uint64_t)size, &e), &e);
	return rc;
}

WRAPPED(int, fallocate64, (int fd, int mode, off_t off, off_t len))
{
	struct hostfile *f = crashdir_file(fd);
	int rc = __real_fallocate64(fd, mode, off, len);
	uint64_t from = (uint64_t)off, n = (uint64_t)len;
	struct err e = ERR_INIT;

	if (!f || rc)
		return rc;
	if (mode & FALLOC_FL_KEEP_SIZE)
		n = min_u64(n, host_size(f) - min_u64(from, host_size(f)));
	else
		assert_ok(host_grow(f, from + n, &e), &e);
	if (mode & (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE) && n)
		assert_ok(host_zero(f, from, n, HOST_ZERO_PUNCH, &e), &e);
	return 0;
}

/* A program does this by reading and writing then. */
WRAPPED(ssize_t, copy_file_range,
    (int in, off64_t *in_off, int out, off64_t *out_off, size_t len,
	unsigned flags))
{
	if (!crashdir_file(out))
		return __real_copy_file_range(
		    in, in_off, out, out_off, len, flags);
	errno = EXDEV;
	return -1;
}

/* Nothing is really synced, which would only take time. */

WRAPPED(int, fsync, (int fd))
{
	crashdir_sync(fd);
	return 0;
}

WRAPPED(int, fdatasync, (int fd))
{
	crashdir_sync(fd);
	return 0;
}
