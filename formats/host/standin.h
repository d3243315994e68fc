/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Stand-ins: files that are made beside another one, to take its place when
 * they are complete.
 */
#ifndef IMGD_HOST_STANDIN_H
#define IMGD_HOST_STANDIN_H

#include <stdbool.h>
#include <sys/stat.h>

#include "../core/err.h"

/* DIR/.BASE.XXXXXX, the pattern of a name that is not there, malloc'd.  `real`
 * is an absolute path.  NULL: out of memory. */
char *standin_pattern(const char *real);
/* Give the new file owner, mode and extended attributes of `path`.  False:
 * that cannot be done, and it cannot stand for the old one. */
bool standin_take_over(const char *path, const struct stat *old, int fd);
/* What was renamed in the folder of an absolute path stays so after a crash. */
int standin_sync_folder(const char *path, struct err *e);
/* The same for the contents of the file. */
int standin_sync(const char *path, struct err *e);
/* Could the file not be replaced by renaming another one to its name? */
bool standin_is_mount_point(const char *path);

#endif
