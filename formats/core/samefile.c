/* SPDX-License-Identifier: BSD-3-Clause */
/* The identity of host files: see samefile.h. */
#include <sys/stat.h>

#include "../host/hostfile.h"
#include "samefile.h"

bool same_file(const struct hostfile *a, const struct hostfile *b)
{
	struct stat sa, sb;

	if (a == b)
		return true;
	if (a->fd < 0 || b->fd < 0 || fstat(a->fd, &sa) || fstat(b->fd, &sb))
		return false;
	if (S_ISBLK(sa.st_mode) && S_ISBLK(sb.st_mode))
		return sa.st_rdev == sb.st_rdev;
	return sa.st_dev == sb.st_dev && sa.st_ino == sb.st_ino;
}
