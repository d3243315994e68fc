/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Who locks a byte of a file?  The lock itself does not say, since it belongs
 * to an open file and not to a process; but /proc/PID/fdinfo/FD lists it for
 * those processes that we may look at.  A help for a message, no more:
 * whatever cannot be read is passed over.
 */
#include <ctype.h>
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../core/cleanup.h"
#include "file.h"

static void drop_dir(DIR *d)
{
	closedir(d);
}
DEFINE_CLEANUP(dir, DIR, drop_dir)

/* Has an open file, described in `info`, a lock that covers the byte? */
static bool has_lock(FILE *info, uint64_t byte)
{
	char line[256], last[32];
	unsigned long long from;

	while (fgets(line, sizeof line, info)) {
		/* lock: 1: OFDLCK ADVISORY READ -1 fe:00:105 100 101 */
		if (sscanf(line, "lock: %*s %*s %*s %*s %*s %*s %llu %31s",
			&from, last) != 2)
			continue;
		if (from <= byte &&
		    (!strcmp(last, "EOF") || strtoull(last, NULL, 10) >= byte))
			return true;
	}
	return false;
}

static bool fd_has_lock(int proc, unsigned pid, unsigned fd, uint64_t byte)
{
	char path[64];
	FILE *info;
	int info_fd;
	bool found;

	snprintf(path, sizeof path, "%u/fdinfo/%u", pid, fd);
	info_fd = openat(proc, path, O_RDONLY | O_CLOEXEC);
	info = info_fd < 0 ? NULL : fdopen(info_fd, "r");
	if (!info) {
		if (info_fd >= 0)
			close(info_fd);
		return false;
	}
	found = has_lock(info, byte);
	fclose(info);
	return found;
}

static DIR *open_dir(int at, const char *path)
{
	int fd = openat(at, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);

	if (fd >= 0 && !d)
		close(fd);
	return d;
}

/* The next entry of a directory that is a number. */
static bool next_number(DIR *d, unsigned *number)
{
	struct dirent *ent;
	char *end;

	while ((ent = readdir(d))) {
		*number = (unsigned)strtoul(ent->d_name, &end, 10);
		if (!*end)
			return true;
	}
	return false;
}

/* Without asking a file server, which may be down: it may be any file. */
static bool same_file(int fds, const char *fd, const struct statx *want)
{
	struct statx st;

	return !statx(fds, fd, AT_STATX_DONT_SYNC, STATX_INO, &st) &&
	       st.stx_ino == want->stx_ino &&
	       st.stx_dev_major == want->stx_dev_major &&
	       st.stx_dev_minor == want->stx_dev_minor;
}

/* Has the process opened the same file as f, with such a lock?  f is not it. */
static bool pid_has_lock(int proc, unsigned pid, struct hostfile *f,
    const struct statx *want, uint64_t byte)
{
	CLEANUP(dir) DIR *fds = NULL;
	char path[64];
	unsigned fd;

	snprintf(path, sizeof path, "%u/fd", pid);
	fds = open_dir(proc, path);
	while (fds && next_number(fds, &fd)) {
		if (pid == (unsigned)getpid() && fd == (unsigned)f->fd)
			continue;
		snprintf(path, sizeof path, "%u", fd);
		if (same_file(dirfd(fds), path, want) &&
		    fd_has_lock(proc, pid, fd, byte))
			return true;
	}
	return false;
}

static void describe(int proc, unsigned pid, char *text, size_t len)
{
	char path[64], name[32] = "?";
	CLEANUP_FD int fd = -1;
	ssize_t n;

	snprintf(path, sizeof path, "%u/comm", pid);
	fd = openat(proc, path, O_RDONLY | O_CLOEXEC);
	n = fd < 0 ? 0 : read(fd, name, sizeof name - 1);
	if (n > 0)
		name[n] = 0;
	name[strcspn(name, "\n")] = 0;
	for (char *c = name; *c; c++) /* a process chooses its name */
		if (!isprint((unsigned char)*c))
			*c = '?';
	snprintf(text, len, "process %u (%s)", pid, name);
}

void holder_find(struct hostfile *f, uint64_t byte, char *text, size_t len)
{
	CLEANUP(dir) DIR *proc = open_dir(AT_FDCWD, "/proc");
	struct statx want;
	unsigned pid;

	*text = 0;
	if (!proc || statx(f->fd, "", AT_EMPTY_PATH, STATX_INO, &want))
		return;
	while (next_number(proc, &pid)) {
		if (pid_has_lock(dirfd(proc), pid, f, &want, byte)) {
			describe(dirfd(proc), pid, text, len);
			return;
		}
	}
}
