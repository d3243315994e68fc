/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * All of a file's contents at once.
 *
 * A regular file is made again beside itself and renamed; the handle then
 * stands for the new one, with the same number and the same locks.  Where that
 * cannot be done (another link to it, a folder where nothing can be made, an
 * owner that cannot be kept) it is written in place.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../core/cleanup.h"
#include "file.h"
#include "iov.h"
#include "standin.h"

/* The path that the open file has now, malloc'd; NULL: it cannot be replaced.
 */
static char *path_of(struct hostfile *f, struct stat *st)
{
	CLEANUP_FREE char *path = NULL;
	char link[32];
	struct stat at_path;

	snprintf(link, sizeof link, "/proc/self/fd/%d", f->fd);
	path = realpath(link, NULL);
	if (!path || fstat(f->fd, st) || lstat(path, &at_path) ||
	    st->st_ino != at_path.st_ino || st->st_dev != at_path.st_dev ||
	    !S_ISREG(st->st_mode) || st->st_nlink != 1 ||
	    standin_is_mount_point(path))
		return NULL;
	return take(path);
}

static int write_all(struct hostfile *f, int fd, const void *buf, size_t len,
    const char *temp, struct err *e)
{
	const struct iovec iov = {(void *)buf, len};
	int rc = iov_pwrite(fd, &iov, 1, SIZE_MAX, 0);

	if (!rc && !(f->flags & HOST_NOSYNC) && fsync(fd))
		rc = errno;
	return rc ? err_sys(e, rc, "Could not write '%s'", temp) : 0;
}

/* The handle goes on with the new file, or as it was. */
static int take_place(struct hostfile *f, int fd, const char *temp,
    const char *path, struct err *e)
{
	CLEANUP_FD int old = fcntl(f->fd, F_DUPFD_CLOEXEC, 0);

	if (old < 0 || fcntl(fd, F_SETFL, fcntl(old, F_GETFL)) < 0 ||
	    dup3(fd, f->fd, O_CLOEXEC) < 0)
		return err_sys(e, errno, "Could not open '%s'", temp);
	if (!rename(temp, path))
		return f->flags & HOST_NOSYNC ? 0
					      : standin_sync_folder(path, e);
	err_sys(e, errno, "Could not put '%s' in place", path);
	dup3(old, f->fd, O_CLOEXEC);
	return -1;
}

int file_replace(struct hostfile *f, const void *buf, size_t len, struct err *e)
{
	struct stat st;
	CLEANUP_FREE char *path = path_of(f, &st);
	CLEANUP_FREE char *temp = path ? standin_pattern(path) : NULL;
	CLEANUP_FD int fd = temp ? mkostemp(temp, O_CLOEXEC) : -1;

	if (fd < 0)
		return 0;
	if (!standin_take_over(path, &st, fd)) {
		unlink(temp);
		return 0;
	}
	if (!write_all(f, fd, buf, len, temp, e) && !lock_copy(f, fd, e) &&
	    !take_place(f, fd, temp, path, e)) {
		file_forget(f);
		return 1;
	}
	unlink(temp);
	return -1;
}

/* A crash in the middle leaves some of both. */
static int replace_in_place(
    struct hostfile *f, const void *buf, size_t len, struct err *e)
{
	if (host_pwrite(f, buf, len, 0, e) || host_truncate(f, len, e))
		return -1;
	return host_sync(f, e);
}

int host_replace(struct hostfile *f, const void *buf, size_t len, struct err *e)
{
	int rc = 0;

	rwlock_excl(&f->size_lock);
	if (f->ops->replace && f->flags & HOST_RDWR)
		rc = f->ops->replace(f, buf, len, e);
	if (rc > 0)
		atomic_store(&f->size, len);
	rwlock_excl_end(&f->size_lock);
	if (!rc)
		return replace_in_place(f, buf, len, e);
	return rc < 0 ? -1 : 0;
}
