/* SPDX-License-Identifier: BSD-3-Clause */
/* Files that take the place of others: see standin.h. */
#include "standin.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "../core/cleanup.h"

#define BASE_MAX  200	     /* bytes of the old name in the new one */
#define XATTR_MAX (64 << 10) /* bytes: the limit of the kernel */

char *standin_pattern(const char *real)
{
	const char *base = strrchr(real, '/') + 1;
	char *out;

	if (asprintf(&out, "%.*s.%.*s.XXXXXX", (int)(base - real), real,
		BASE_MAX, base) < 0)
		return NULL;
	return out;
}

static bool copy_attribute(const char *name, const char *old, int fd)
{
	CLEANUP_FREE char *value = malloc(XATTR_MAX);
	ssize_t len = value ? getxattr(old, name, value, XATTR_MAX) : -1;

	return len >= 0 && !fsetxattr(fd, name, value, (size_t)len, 0);
}

static bool copy_attributes(const char *old, int fd)
{
	CLEANUP_FREE char *names = malloc(XATTR_MAX);
	ssize_t len = names ? listxattr(old, names, XATTR_MAX) : -1;

	if (len < 0)
		return errno == ENOTSUP;
	for (const char *n = names; n < names + len; n += strlen(n) + 1)
		if (!copy_attribute(n, old, fd))
			return false;
	return true;
}

bool standin_take_over(const char *path, const struct stat *old, int fd)
{
	return !fchown(fd, old->st_uid, old->st_gid) &&
	       !fchmod(fd, old->st_mode & 07777) && copy_attributes(path, fd);
}

int standin_sync(const char *path, struct err *e)
{
	CLEANUP_FD int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0 || fsync(fd))
		return err_sys(e, errno, "Could not flush '%s'", path);
	return 0;
}

int standin_sync_folder(const char *path, struct err *e)
{
	size_t len = (size_t)(strrchr(path, '/') - path);
	CLEANUP_FREE char *dir = len ? strndup(path, len) : strdup("/");

	return dir ? standin_sync(dir, e) : err_nomem(e);
}

bool standin_is_mount_point(const char *path)
{
	struct statx x;

	return !statx(AT_FDCWD, path, 0, 0, &x) &&
	       (x.stx_attributes & STATX_ATTR_MOUNT_ROOT);
}
