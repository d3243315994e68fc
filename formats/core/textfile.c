/* SPDX-License-Identifier: BSD-3-Clause */
/* A small file as a whole: see textfile.h.  It may be a pipe. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cleanup.h"
#include "textfile.h"

/* At most `max` bytes; -1 with errno. */
static ssize_t read_some(int fd, uint8_t *buf, size_t max)
{
	size_t len = 0;

	while (len < max) {
		ssize_t n = read(fd, buf + len, max - len);

		if (!n)
			break;
		if (n < 0 && errno != EINTR)
			return -1;
		if (n > 0)
			len += (size_t)n;
	}
	return (ssize_t)len;
}

uint8_t *textfile_read(int dir, const char *path, size_t *len, struct err *e)
{
	CLEANUP_FD int fd = openat(dir, path, O_RDONLY | O_CLOEXEC);
	CLEANUP_FREE uint8_t *buf = calloc(1, TEXTFILE_LEN_MAX + 2);
	ssize_t n;

	if (!buf) {
		err_nomem(e);
		return NULL;
	}
	n = fd < 0 ? -1 : read_some(fd, buf, TEXTFILE_LEN_MAX + 1);
	if (n >= 0 && n <= (ssize_t)TEXTFILE_LEN_MAX) {
		*len = (size_t)n;
		return take(buf);
	}
	if (n < 0)
		err_sys(e, errno, "Unable to read %s", path);
	else
		err_usage(
		    e, "%s is longer than %u bytes", path, TEXTFILE_LEN_MAX);
	/* It may be a secret. */
	explicit_bzero(buf, TEXTFILE_LEN_MAX + 2);
	return NULL;
}
