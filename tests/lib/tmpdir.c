/* SPDX-License-Identifier: BSD-3-Clause */
/* A directory for the files of one test program: see tmpdir.h. */
#include <ftw.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "tmpdir.h"

static char dir[PATH_MAX];
static pid_t owner;

static int remove_one(
    const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	remove(path);
	return 0;
}

static void remove_all(void)
{
	if (getpid() == owner && !chdir("/"))
		nftw(dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

void tmpdir_enter(void)
{
	const char *base = getenv("TMPDIR");

	snprintf(dir, sizeof dir, "%s/imgd-test.XXXXXX",
	    base && *base ? base : "/var/tmp");
	if (!mkdtemp(dir) || chdir(dir)) {
		perror(dir);
		exit(1);
	}
	owner = getpid();
	atexit(remove_all);
}
