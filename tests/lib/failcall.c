/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A library to be loaded before a program ($LD_PRELOAD) whose system calls are
 * to fail: those that open, read, change, sync or rename a file below a folder,
 * or the folder.  A call that fails does nothing.
 *
 *	FAILCALL_DIR	the folder, as an absolute path; else nothing fails
 *	FAILCALL_NTH	the call that fails, from 1
 *	FAILCALL_ERRNO	how
 *	FAILCALL_CHANGES	set: only calls that change a file count, and
 *all from the Nth on fail
 *	FAILCALL_KILL	set: it does not fail, the program is killed
 *	FAILCALL_REPORT	a file that gets the name of each call that failed;
 *			without FAILCALL_NTH, of each call
 *
 * Nothing is synced, which would only take time.  io_uring is not to be had, so
 *that a program uses what is hooked.  Calls are made without the C library:
 *what comes after this one may be a sanitizer.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/fs.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

static _Atomic long calls;

static bool is_below(const char *path)
{
	const char *dir = getenv("FAILCALL_DIR");
	size_t len = dir ? strlen(dir) : 0;

	return len && !strncmp(path, dir, len) &&
	       (path[len] == '/' || !path[len]);
}

static void report(const char *call, const char *path)
{
	const char *name = getenv("FAILCALL_REPORT");
	char line[PATH_MAX + 64];
	int len, fd;

	if (!name)
		return;
	len = snprintf(
	    line, sizeof line, "%s %s\n", call, strrchr(path, '/') + 1);
	fd = (int)syscall(SYS_openat, AT_FDCWD, name,
	    O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
	syscall(SYS_write, fd, line, len);
	syscall(SYS_close, fd);
}

/* Is it the turn of this call?  Sets errno. */
static bool path_fails(const char *call, bool changes, const char *path)
{
	const char *nth = getenv("FAILCALL_NTH"), *how;
	bool only_changes = getenv("FAILCALL_CHANGES");
	long n;

	if ((only_changes && !changes) || !is_below(path))
		return false;
	if (!nth) {
		report(call, path);
		return false;
	}
	n = atomic_fetch_add(&calls, 1) + 1;
	if (only_changes ? n < atol(nth) : n != atol(nth))
		return false;
	report(call, path);
	if (getenv("FAILCALL_KILL"))
		syscall(SYS_kill, getpid(), SIGKILL);
	how = getenv("FAILCALL_ERRNO");
	errno = how ? atoi(how) : EIO;
	return true;
}

static bool fd_fails(const char *call, bool changes, int fd)
{
	char link[32], path[PATH_MAX];
	long len;

	snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
	len = syscall(SYS_readlinkat, AT_FDCWD, link, path, sizeof path - 1);
	if (len < 0)
		return false;
	path[len] = '\0';
	return path_fails(call, changes, path);
}

/* A path that may be relative to the working folder. */
static bool name_fails(const char *call, bool changes, const char *name)
{
	char cwd[PATH_MAX], path[2 * PATH_MAX];

	if (*name == '/')
		return path_fails(call, changes, name);
	if (syscall(SYS_getcwd, cwd, sizeof cwd) < 0)
		return false;
	snprintf(path, sizeof path, "%s/%s", cwd, name);
	return path_fails(call, changes, path);
}

/* ---- opening, names ------------------------------------------------------ */

static int open_at(int dir, const char *name, int flags, va_list more)
{
	int mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(more, int) : 0;

	if (name_fails("open", flags & O_CREAT, name))
		return -1;
	return (int)syscall(SYS_openat, dir, name, flags, mode);
}

int openat(int dir, const char *name, int flags, ...)
{
	va_list more;
	int fd;

	va_start(more, flags);
	fd = open_at(dir, name, flags, more);
	va_end(more);
	return fd;
}

int open(const char *name, int flags, ...)
{
	va_list more;
	int fd;

	va_start(more, flags);
	fd = open_at(AT_FDCWD, name, flags, more);
	va_end(more);
	return fd;
}

/* For at most a few files: names are tried in order. */
int mkostemp(char *pattern, int flags)
{
	char *tail = pattern + strlen(pattern) - 6;
	int fd = -1;

	if (name_fails("open", true, pattern))
		return -1;
	for (unsigned i = 0; i < 1000; i++) {
		char number[8];

		snprintf(number, sizeof number, "%06u", i);
		memcpy(tail, number, 6);
		fd = (int)syscall(SYS_openat, AT_FDCWD, pattern,
		    flags | O_RDWR | O_CREAT | O_EXCL, 0600);
		if (fd >= 0 || errno != EEXIST)
			break;
	}
	return fd;
}

int rename(const char *from, const char *to)
{
	if (name_fails("rename", true, to))
		return -1;
	return (int)syscall(SYS_rename, from, to);
}

int renameat2(
    int from_dir, const char *from, int to_dir, const char *to, unsigned flags)
{
	if (name_fails("rename", true, to))
		return -1;
	return (int)syscall(SYS_renameat2, from_dir, from, to_dir, to, flags);
}

int unlink(const char *path)
{
	if (getenv("FAILCALL_KILL") && name_fails("unlink", true, path))
		return -1;
	return (int)syscall(SYS_unlinkat, AT_FDCWD, path, 0);
}

/* ---- contents ------------------------------------------------------------ */

ssize_t pread(int fd, void *buf, size_t len, off_t off)
{
	if (fd_fails("read", false, fd))
		return -1;
	return syscall(SYS_pread64, fd, buf, len, off);
}

ssize_t pwrite(int fd, const void *buf, size_t len, off_t off)
{
	if (fd_fails("write", true, fd))
		return -1;
	return syscall(SYS_pwrite64, fd, buf, len, off);
}

ssize_t preadv(int fd, const struct iovec *iov, int n, off_t off)
{
	if (fd_fails("read", false, fd))
		return -1;
	return syscall(SYS_preadv, fd, iov, n, off, 0);
}

ssize_t pwritev(int fd, const struct iovec *iov, int n, off_t off)
{
	if (fd_fails("write", true, fd))
		return -1;
	return syscall(SYS_pwritev, fd, iov, n, off, 0);
}

ssize_t preadv2(int fd, const struct iovec *iov, int n, off_t off, int flags)
{
	if (fd_fails("read", false, fd))
		return -1;
	return syscall(SYS_preadv2, fd, iov, n, off, 0, flags);
}

ssize_t pwritev2(int fd, const struct iovec *iov, int n, off_t off, int flags)
{
	if (fd_fails("write", true, fd))
		return -1;
	return syscall(SYS_pwritev2, fd, iov, n, off, 0, flags);
}

int fsync(int fd)
{
	return fd_fails("sync", false, fd) ? -1 : 0;
}

int fdatasync(int fd)
{
	return fd_fails("sync", false, fd) ? -1 : 0;
}

int ftruncate(int fd, off_t size)
{
	if (fd_fails("truncate", true, fd))
		return -1;
	return (int)syscall(SYS_ftruncate, fd, size);
}

int fallocate(int fd, int mode, off_t off, off_t len)
{
	if (fd_fails("fallocate", true, fd))
		return -1;
	return (int)syscall(SYS_fallocate, fd, mode, off, len);
}

ssize_t copy_file_range(int from, off_t *from_off, int to, off_t *to_off,
    size_t len, unsigned flags)
{
	if (fd_fails("copy_file_range", true, to))
		return -1;
	return syscall(
	    SYS_copy_file_range, from, from_off, to, to_off, len, flags);
}

int ioctl(int fd, unsigned long request, ...)
{
	va_list more;
	void *arg;

	va_start(more, request);
	arg = va_arg(more, void *);
	va_end(more);
	if ((request == FICLONE || request == FICLONERANGE) &&
	    fd_fails("clone", true, fd))
		return -1;
	return (int)syscall(SYS_ioctl, fd, request, arg);
}

off_t lseek(int fd, off_t off, int whence)
{
	if (fd_fails("seek", false, fd))
		return -1;
	return syscall(SYS_lseek, fd, off, whence);
}

struct io_uring;
int io_uring_queue_init(
    unsigned entries, struct io_uring *ring, unsigned flags);
int io_uring_queue_init(unsigned entries, struct io_uring *ring, unsigned flags)
{
	(void)entries, (void)ring, (void)flags;
	return -ENOSYS;
}
