/* SPDX-License-Identifier: BSD-3-Clause */
/* Devices of the kernel: see device.h. */
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <time.h>

#include "core/cleanup.h"
#include "core/units.h"

#include "clients.h"
#include "device.h"
#include "log.h"
#include "nbd.h"

/* Where there are several connections the kernel wants a limit for a reply, and
   gives the connection up then; storage may be slow. */
#define REPLY_LIMIT_S (24u * 60 * 60)
#define READY_MS      10000 /* for the device to appear */
#define FREE_MS	      60000 /* for a server to end after a disconnect */
#define BACKEND	      "imgd-"

/* ---- finding it -------------------------------------------------------- */

/* The number of "nbdN"; partitions have more in their names. */
static bool parse_index(const char *name, uint32_t *index)
{
	unsigned long n;
	char *end;

	if (strncmp(name, "nbd", 3) || !isdigit((unsigned char)name[3]))
		return false;
	errno = 0;
	n = strtoul(name + 3, &end, 10);
	*index = (uint32_t)n;
	return !*end && !errno && n <= INT32_MAX;
}

/* What the kernel calls a block device, whatever the file is called. */
static int find_index(const char *path, uint32_t *index, struct err *e)
{
	char link[64], target[512];
	struct stat st;
	ssize_t n;

	if (stat(path, &st)) {
		err_sys(e, errno, "Failed to open %s", path);
		if (errno == ENOENT)
			err_hint(e, "If the kernel has no such devices, load "
				    "its module: modprobe nbd");
		return -1;
	}
	if (!S_ISBLK(st.st_mode))
		return err_usage(e, "%s: not a block device", path);
	snprintf(link, sizeof link, "/sys/dev/block/%u:%u", major(st.st_rdev),
	    minor(st.st_rdev));
	n = readlink(link, target, sizeof target - 1);
	if (n < 0)
		return err_sys(e, errno, "%s: %s", path, link);
	target[n] = 0;
	if (!parse_index(basename(target), index))
		return err_usage(e, "%s is %s: not a network block device",
		    path, basename(target));
	return 0;
}

int device_open(struct device *d, const char *path, struct err *e)
{
	*d = (struct device){.kernel.fd = -1};
	if (find_index(path, &d->index, e) || kernel_open(&d->kernel, e))
		return -1;
	/* What the kernel writes waits for this process, which must not wait
	   for that in turn.  Threads inherit it. */
	prctl(PR_SET_IO_FLUSHER, 1, 0, 0, 0);
	d->path = realpath(path, NULL);
	return d->path ? 0 : err_sys(e, errno, "Failed to open %s", path);
}

/* ---- connecting -------------------------------------------------------- */

/* The client's part, with the one option that needs no more than this. */
static int negotiate(
    int fd, const char *name, uint64_t *size, uint16_t *flags, struct err *e)
{
	uint8_t hello[18], option[4 + 16 + NBD_STRING_MAX], answer[10];
	size_t len = strlen(name);

	put_be32(option, NBD_FLAG_FIXED_NEWSTYLE | NBD_FLAG_NO_ZEROES);
	put_be64(option + 4, NBD_OPTION_MAGIC);
	put_be32(option + 12, NBD_OPT_EXPORT_NAME);
	put_be32(option + 16, (uint32_t)len);
	memcpy(option + 20, name, len);
	if (recv(fd, hello, sizeof hello, MSG_WAITALL) != sizeof hello ||
	    send(fd, option, 20 + len, MSG_NOSIGNAL) != (ssize_t)(20 + len) ||
	    recv(fd, answer, sizeof answer, MSG_WAITALL) != sizeof answer)
		return err_sys(e, ECONNRESET, "Failed to negotiate");
	*size = be64(answer);
	*flags = be16(answer + 8);
	return 0;
}

/* A client of the server: its end, that is ready for requests; -1. */
static int new_client(struct clients *cs, const char *export,
    struct kernel_device *k, struct err *e)
{
	CLEANUP_FD int mine = -1;
	int fds[2], fd;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds))
		return err_sys(e, errno, "socketpair");
	mine = fds[0];
	if (clients_add(cs, fds[1], e) ||
	    negotiate(mine, export, &k->size, &k->flags, e))
		return -1;
	fd = mine;
	mine = -1;
	return fd;
}

static unsigned connections(unsigned shared)
{
	long cpus = sysconf(_SC_NPROCESSORS_ONLN);
	unsigned n = cpus < 1 ? 1 : (unsigned)min_u64(cpus, DEVICE_SOCKETS_MAX);

	return shared && shared < n ? shared : n;
}

static void sleep_ms(long ms)
{
	nanosleep(&(struct timespec){.tv_nsec = ms * 1000000}, NULL);
}

/*
 * Until the device can be read: opening it makes the kernel look for
 * partitions, so that they are there too.
 */
static int wait_ready(const struct device *d, uint64_t size, struct err *e)
{
	uint64_t found = 0;

	for (int ms = 0; ms < READY_MS; ms += 10) {
		CLEANUP_FD int fd = open(d->path, O_RDONLY | O_CLOEXEC);

		if (fd >= 0 && !ioctl(fd, BLKGETSIZE64, &found) &&
		    found == size)
			return 0;
		sleep_ms(10);
	}
	return err_sys(e, ETIMEDOUT, "%s: has %llu bytes instead of %llu",
	    d->path, (unsigned long long)found, (unsigned long long)size);
}

static int hand_over(
    struct device *d, const struct kernel_device *k, struct err *e)
{
	if (!kernel_connect(&d->kernel, k, e))
		return 0;
	err_prefix(e, "Failed to connect %s: ", d->path);
	if (e->errnum == EBUSY)
		err_hint(e, "It is in use; -d disconnects it");
	if (e->errnum == EPERM)
		err_hint(e, "This takes the right CAP_SYS_ADMIN");
	return -1;
}

static int connect_device(struct device *d, struct clients *cs,
    const char *export, struct kernel_device *k, struct err *e)
{
	while (d->fd_n < k->fd_n) {
		int fd = new_client(cs, export, k, e);

		if (fd < 0)
			return -1;
		d->fd[d->fd_n++] = fd;
	}
	return hand_over(d, k, e);
}

static void drop_sockets(struct device *d)
{
	while (d->fd_n)
		close(d->fd[--d->fd_n]);
}

int device_attach(struct device *d, struct clients *cs, const char *export,
    unsigned shared, struct err *e)
{
	char backend[sizeof BACKEND + 16];
	struct kernel_device k = {
	    .index = d->index,
	    .backend = backend,
	    .fd = d->fd,
	    .fd_n = connections(shared),
	};
	uint64_t size;

	snprintf(backend, sizeof backend, BACKEND "%ld", (long)getpid());
	k.timeout_s = k.fd_n > 1 ? REPLY_LIMIT_S : 0;
	if (connect_device(d, cs, export, &k, e)) {
		drop_sockets(d); /* the kernel does not have them */
		return -1;
	}
	size = k.size / KERNEL_BLOCK_LEN * KERNEL_BLOCK_LEN;
	if (size != k.size)
		log_error("warning: the last %llu bytes are no full sector, "
			  "and not part of %s",
		    (unsigned long long)(k.size - size), d->path);
	return wait_ready(d, size, e);
}

void device_close(struct device *d)
{
	drop_sockets(d);
	kernel_close(&d->kernel);
	free(take(d->path));
}

/* ---- disconnecting ----------------------------------------------------- */

/* A line that the kernel says of the device; false: nothing. */
static bool read_attribute(
    uint32_t index, const char *name, char *text, size_t len)
{
	CLEANUP_FREE char *path = NULL;
	CLEANUP_FD int fd = -1;
	ssize_t n;

	if (asprintf(&path, "/sys/block/nbd%u/%s", index, name) < 0) {
		path = NULL;
		return false;
	}
	fd = open(path, O_RDONLY | O_CLOEXEC);
	n = fd < 0 ? -1 : read(fd, text, len - 1);
	if (n <= 0)
		return false;
	text[n] = 0;
	text[strcspn(text, "\n")] = 0;
	return true;
}

/* The server of this program that has the device; 0: there is none. */
static pid_t server_of(uint32_t index)
{
	const size_t n = sizeof BACKEND - 1;
	char text[64];

	if (!read_attribute(index, "backend", text, sizeof text) ||
	    strncmp(text, BACKEND, n))
		return 0;
	return (pid_t)strtol(text + n, NULL, 10);
}

/* 0, or an errno value. */
static int sync_device(const char *path, int flags)
{
	CLEANUP_FD int fd = open(path, O_RDONLY | O_CLOEXEC | flags);

	return fd < 0 || fsync(fd) ? errno : 0;
}

/* The kernel shuts down what it lets go, so this cannot be mistaken for the
   device's next server. */
static bool is_attached(const struct device *d)
{
	bool any = false;

	for (unsigned i = 0; i < d->fd_n; i++) {
		struct pollfd p = {.fd = d->fd[i], .events = POLLRDHUP};

		any |= !poll(&p, 1, 0);
	}
	return any;
}

int device_detach(struct device *d, struct err *e)
{
	int lost;

	if (!is_attached(d))
		return 0;
	lost = sync_device(d->path, O_EXCL);
	if (lost == EBUSY) {
		log_error(
		    "warning: %s is disconnected while it is in use", d->path);
		lost = sync_device(d->path, 0);
	}
	if (lost)
		err_sys(e, lost, "%s: not all could be written", d->path);
	return kernel_disconnect(&d->kernel, d->index, e) || lost ? -1 : 0;
}

/* `pidfd` -1: no server to wait for. */
static int wait_free(struct device *d, int pidfd, struct err *e)
{
	struct pollfd p = {.fd = pidfd, .events = POLLIN};
	int rc, ms = 0;

	while (rc = kernel_connected(&d->kernel, d->index, e), rc > 0) {
		if (ms > FREE_MS)
			return err_sys(e, ETIMEDOUT, "%s", d->path);
		sleep_ms(10);
		ms += 10;
	}
	if (!rc && pidfd >= 0 && !poll(&p, 1, FREE_MS))
		return err_sys(e, ETIMEDOUT,
		    "%s: disconnected, but its server has not ended", d->path);
	return rc;
}

static int disconnect(struct device *d, struct err *e)
{
	int rc = kernel_connected(&d->kernel, d->index, e), lost;
	CLEANUP_FD int pidfd = -1;
	pid_t server;

	if (rc <= 0)
		return rc ? -1 : err_usage(e, "%s: not connected", d->path);
	lost = sync_device(d->path, O_EXCL);
	if (lost == EBUSY)
		return err_sys(e, EBUSY, "%s: in use", d->path);
	server = server_of(d->index);
	if (server > 0)
		pidfd = pidfd_open(server, 0);
	if (kernel_disconnect(&d->kernel, d->index, e) ||
	    wait_free(d, pidfd, e))
		return -1;
	return lost ? err_sys(e, lost,
			  "%s: disconnected, but not all could be written",
			  d->path)
		    : 0;
}

int device_disconnect(const char *path, struct err *e)
{
	struct device d;
	int rc = device_open(&d, path, e);

	if (!rc)
		rc = disconnect(&d, e);
	device_close(&d);
	return rc;
}
