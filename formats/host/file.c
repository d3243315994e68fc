/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Host file: a regular file or a device of this machine.  Opening, reading,
 * writing, sync.  Space is in space.c, O_DIRECT in direct.c, locks in lock.c.
 *
 * Nothing about the contents is kept here, since other programs may change
 * them, but where there was data (space.c): it can be read as such even so.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <linux/magic.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "../core/cleanup.h"
#include "../core/units.h"
#include "file.h"
#include "iov.h"

/*
 * Bytes of one write into the page cache.  The kernel makes one block of memory
 * of them where it can, and those of 2 MiB are hard to get: it may have to move
 * pages first, or a hypervisor has to give them back.  Many times slower then.
 */
#define CACHED_WRITE_MAX (512u * KiB)

static int file_readv(struct hostfile *f, const struct iovec *iov, int n,
    uint64_t off, struct err *e)
{
	struct iov_walk rest = {iov, n, 0};
	uint64_t len = 0, done;
	uint8_t *piece;
	int rc;

	if (!direct_fits(f, iov, n, off))
		return direct_readv(f, iov, n, off, e);
	iov_len(iov, n, &len);
	rc = iov_pread(f->fd, iov, n, off, f->align, &done);
	if (rc)
		return host_fail(f, rc, "read", len, off, e);
	if (done == len)
		return 0;
	/* Somebody else made the file shorter. */
	while (done)
		done -= iov_next(&rest, done, &piece);
	iov_put_zeroes(&rest);
	return 0;
}

static int file_writev(struct hostfile *f, const struct iovec *iov, int n,
    uint64_t off, struct err *e)
{
	uint64_t len = 0;
	size_t max = f->flags & HOST_DIRECT ? SIZE_MAX : CACHED_WRITE_MAX;
	struct range r;
	int rc;

	if (!direct_fits(f, iov, n, off))
		return direct_writev(f, iov, n, off, e);
	iov_len(iov, n, &len);
	direct_lock(f, &r, off, len);
	rc = iov_pwrite(f->fd, iov, n, max, off);
	direct_unlock(f, &r);
	return rc ? host_fail(f, rc, "write", len, off, e) : 0;
}

static int sync_once(struct hostfile *f)
{
	int rc;

	do
		rc = fdatasync(f->fd) ? errno : 0;
	while (rc == EINTR);
	/* EINVAL: a special file, which has nothing to sync. */
	return rc == EINVAL ? 0 : rc;
}

/*
 * After a failure the kernel takes the lost pages for clean, and the next sync
 * would succeed: so this file never reports success again.  One at a time,
 * since the kernel tells one caller only.
 */
static int file_sync(struct hostfile *f, struct err *e)
{
	struct posix_file *p = posix_file(f);
	int rc;

	mutex_lock(&p->lock);
	if (p->sync_failed) {
		rc = err_sys(e, EIO,
		    "%s: could not sync: an earlier sync lost data", f->name);
	} else if ((rc = sync_once(f))) {
		p->sync_failed = true;
		err_sys(e, rc, "%s: could not sync", f->name);
	}
	mutex_unlock(&p->lock);
	return rc ? -1 : 0;
}

static int file_truncate(struct hostfile *f, uint64_t size, struct err *e)
{
	struct range r;
	int rc;

	direct_lock(f, &r, 0, UINT64_MAX);
	do
		rc = ftruncate(f->fd, (off_t)size) ? errno : 0;
	while (rc == EINTR);
	file_forget(f);
	direct_unlock(f, &r);
	if (!rc)
		return 0;
	return err_sys(e, rc, "%s: could not resize to %llu bytes", f->name,
	    (unsigned long long)size);
}

static void file_willneed(struct hostfile *f, uint64_t off, uint64_t len)
{
	posix_fadvise(f->fd, (off_t)off, (off_t)len, POSIX_FADV_WILLNEED);
}

static int64_t file_disk_len(struct hostfile *f)
{
	struct stat st;

	return fstat(f->fd, &st) ? -1 : (int64_t)st.st_blocks * 512;
}

static int file_close(struct hostfile *f, struct err *e)
{
	struct posix_file *p = posix_file(f);
	int rc = 0;

	if (f->fd >= 0 && close(f->fd) && errno != EINTR)
		rc = err_sys(e, errno, "%s: could not close", f->name);
	range_destroy(&p->blocks);
	mutex_destroy(&p->lock);
	mutex_destroy(&p->seen.lock);
	free(p);
	return rc;
}

#define FILE_OPS                                                               \
	.readv = file_readv, .writev = file_writev, .sync = file_sync,         \
	.truncate = file_truncate, .map = file_map, .punch = file_punch,       \
	.zero = file_zero, .allocate = file_allocate, .replace = file_replace, \
	.copy_from = file_copy_from, .clone_unit = file_clone_unit,            \
	.clone = file_clone, .lock = lock_set, .willneed = file_willneed,      \
	.disk_len = file_disk_len, .close = file_close

static const struct host_ops file_ops = {.name = "file", FILE_OPS};
static const struct host_ops device_ops = {.name = "host_device", FILE_OPS};

/* ---- opening ----------------------------------------------------------- */

/* O_NONBLOCK: opening a FIFO must not hang.  It is cleared again, since
 * io_uring would take it seriously. */
static int open_fd(const char *path, unsigned flags, struct err *e)
{
	int how = O_CLOEXEC | O_NOCTTY | O_NONBLOCK, fd;

	how |= flags & HOST_RDWR ? O_RDWR : O_RDONLY;
	how |= flags & HOST_DIRECT ? O_DIRECT : 0;
	how |= flags & HOST_CREATE ? O_CREAT : 0;
	how |= flags & HOST_EXCL ? O_EXCL : 0;
	do
		fd = open(path, how, 0666);
	while (fd < 0 && errno == EINTR);
	if (fd < 0) {
		err_sys(e, errno, "Could not %s '%s'",
		    flags & HOST_CREATE ? "create" : "open", path);
		if (e->errnum == EINVAL && flags & HOST_DIRECT)
			err_hint(e, "The file system may not support O_DIRECT "
				    "(cache=none).");
		return -1;
	}
	if (fcntl(fd, F_SETFL, how & O_DIRECT) < 0) {
		err_sys(e, errno, "Could not open '%s'", path);
		close(fd);
		return -1;
	}
	return fd;
}

static int device_size(struct hostfile *f, struct err *e)
{
	uint64_t size;
	off_t end;

	if (ioctl(f->fd, BLKGETSIZE64, &size)) {
		end = lseek(f->fd, 0, SEEK_END);
		if (end < 0)
			return err_sys(e, errno,
			    "Could not get the size of '%s'", f->name);
		size = (uint64_t)end;
	}
	f->fixed_size = true;
	atomic_store(&f->size, min_u64(size, INT64_MAX));
	return 0;
}

/* There is nothing to wait for, and tmpfs knows no reads that do not wait. */
static bool is_in_memory(int fd)
{
	struct statfs fs;

	return !fstatfs(fd, &fs) && fs.f_type == TMPFS_MAGIC;
}

/* Kind, size and alignment of what was opened. */
static int identify(struct hostfile *f, struct err *e)
{
	struct stat st;
	bool device;

	if (fstat(f->fd, &st))
		return err_sys(e, errno, "Could not stat '%s'", f->name);
	device = S_ISBLK(st.st_mode) || S_ISCHR(st.st_mode);
	if (!device && !S_ISREG(st.st_mode))
		return err_usage(e,
		    "'file' driver requires '%s' to be a regular file",
		    f->name);
	atomic_store(&f->size, device ? 0 : (uint64_t)st.st_size);
	f->in_memory = !device && is_in_memory(f->fd);
	if (device) {
		f->ops = &device_ops;
		if (device_size(f, e))
			return -1;
	}
	return f->flags & HOST_DIRECT ? direct_probe(f, device, e) : 0;
}

/* As a tool that recreates a file: nobody else may be writing it. */
static int empty(struct hostfile *f, struct err *e)
{
	if (host_lock(f, HOST_PERM_WRITE | HOST_PERM_RESIZE,
		HOST_PERM_ALL & ~HOST_PERM_RESIZE, e))
		return -1;
	return f->fixed_size ? 0 : host_truncate(f, 0, e);
}

static struct hostfile *new_file(
    const char *path, unsigned flags, struct err *e)
{
	struct posix_file *p = calloc(1, sizeof *p);
	struct hostfile *f;

	if (!p) {
		err_nomem(e);
		return NULL;
	}
	f = host_new(&file_ops, path, flags, e);
	if (!f) {
		free(p);
		return NULL;
	}
	range_init(&p->blocks);
	mutex_init(&p->lock);
	mutex_init(&p->seen.lock);
	f->priv = p;
	return f;
}

struct hostfile *host_open_file(const char *path, unsigned flags, struct err *e)
{
	struct hostfile *f;

	if (!*path) {
		err_usage(e, "The 'file' block driver requires a file name");
		return NULL;
	}
	f = new_file(path, flags, e);
	if (!f)
		return NULL;
	f->fd = open_fd(path, flags, e);
	if (f->fd < 0 || identify(f, e) ||
	    (flags & HOST_TRUNC && empty(f, e))) {
		host_put(f);
		return NULL;
	}
	return f;
}
