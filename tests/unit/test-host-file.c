/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The POSIX host file: what a system may answer.  The system calls below stand
 * in for those of libc, so that a test can choose.
 */
#include <fcntl.h>
#include <linux/magic.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "check.h"
#include "formats/core/units.h"
#include "formats/host/hostfile.h"
#include "formats/host/many.h"
#include "rng.h"
#include "tmpdir.h"

static struct {
	bool brief;	   /* transfers are short, every other one is EINTR */
	unsigned calls;	   /* of transfers                                  */
	unsigned syncs;	   /* of fdatasync                                  */
	int sync_errno;	   /* of the next fdatasync                         */
	int space_errno;   /* of fallocate and copy_file_range              */
	unsigned attempts; /* of these two                                  */
	unsigned seeks;	   /* of lseek                                      */
} fake;

static ssize_t transfer(
    ssize_t (*call)(int, const struct iovec *, int, off_t, int), int fd,
    const struct iovec *iov, int n, off_t off)
{
	struct iovec part = iov[0];

	if (!fake.brief)
		return call(fd, iov, n, off, 0);
	if (fake.calls++ % 2) {
		errno = EINTR;
		return -1;
	}
	part.iov_len = min_u64(part.iov_len, 1 + fake.calls % 1000);
	return call(fd, &part, 1, off, 0);
}

ssize_t preadv(int fd, const struct iovec *iov, int n, off_t off)
{
	return transfer(preadv2, fd, iov, n, off);
}

ssize_t pwritev(int fd, const struct iovec *iov, int n, off_t off)
{
	return transfer(pwritev2, fd, iov, n, off);
}

off_t lseek(int fd, off_t off, int whence)
{
	fake.seeks++;
	return (off_t)syscall(SYS_lseek, fd, off, whence);
}

int fdatasync(int fd)
{
	fake.syncs++;
	errno = fake.sync_errno;
	fake.sync_errno = 0;
	return errno ? -1 : fsync(fd);
}

/* -1 when the test wants a failure; EINTR is answered once. */
static int space_call(void)
{
	fake.attempts++;
	errno = fake.space_errno;
	if (errno == EINTR)
		fake.space_errno = 0;
	return errno ? -1 : 0;
}

int fallocate(int fd, int mode, off_t off, off_t len)
{
	return space_call() ? -1
			    : (int)syscall(SYS_fallocate, fd, mode, off, len);
}

ssize_t copy_file_range(
    int in, off_t *in_off, int out, off_t *out_off, size_t len, unsigned flags)
{
	return space_call() ? -1
			    : syscall(SYS_copy_file_range, in, in_off, out,
				  out_off, len, flags);
}

static struct hostfile *open_new(const char *name, unsigned flags)
{
	struct err e = ERR_INIT;
	struct hostfile *f = host_open_file(
	    name, HOST_RDWR | HOST_CREATE | HOST_TRUNC | flags, &e);

	assert_no_error(&e);
	memset(&fake, 0, sizeof fake);
	return f;
}

#define LIST_N 3000

static void short_transfers(void **state)
{
	static struct iovec iov[LIST_N];
	static uint8_t want[LIST_N * 20], got[sizeof want];
	struct hostfile *f = open_new("short", 0);
	struct rng r = {3};
	struct err e = ERR_INIT;

	(void)state;
	rng_fill(&r, want, sizeof want);
	fake.brief = true;
	assert_ok(host_pwrite(f, want, sizeof want, 5, &e), &e);
	assert_ok(host_pread(f, got, sizeof got, 5, &e), &e);
	assert_true(fake.calls > 100);
	assert_memory_equal(got, want, sizeof want);

	/* More buffers than the system takes at once, the first ones empty. */
	for (unsigned brief = 0; brief < 2; brief++) {
		fake.brief = brief;
		memset(got, 0, sizeof got);
		for (unsigned i = 0; i < LIST_N; i++)
			iov[i] =
			    (struct iovec){want + 20 * i, i < 1500 ? 0 : 20};
		assert_ok(host_pwritev(f, iov, LIST_N, 7, &e), &e);
		for (unsigned i = 1500; i < LIST_N; i++)
			iov[i].iov_base = got + 20 * i;
		assert_ok(host_preadv(f, iov, LIST_N, 7, &e), &e);
		assert_memory_equal(
		    got + 30000, want + 30000, sizeof want - 30000);
	}
	host_put(f);
}

/* The file became shorter behind our back: zeroes, not an endless loop. */
static void cut_by_others(void **state)
{
	struct hostfile *f = open_new("cut", 0);
	struct host_extent x;
	struct err e = ERR_INIT;
	char buf[8];

	(void)state;
	assert_ok(host_pwrite(f, "abcdefgh", 8, 0, &e), &e);
	assert_int_equal(truncate("cut", 3), 0);
	assert_ok(host_pread(f, buf, 8, 0, &e), &e);
	assert_memory_equal(buf, "abc\0\0\0\0\0", 8);
	assert_ok(host_map(f, 4, 4, &x, &e), &e);
	assert_int_equal(x.len, 4);
	host_put(f);
}

/* What a failed write added to the file is gone. */
static void failed_growth(void **state)
{
	static uint8_t buf[65536];
	struct rlimit old, low;
	struct hostfile *f = open_new("full", 0);
	struct err e = ERR_INIT;
	struct stat st;

	(void)state;
	memset(buf, 'x', sizeof buf);
	assert_ok(host_pwrite(f, buf, 10, 0, &e), &e);
	signal(SIGXFSZ, SIG_IGN);
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
	low = old;
	low.rlim_cur = 30000;
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &low), 0);
	assert_fails(host_pwrite(f, buf, sizeof buf, 10, &e), &e, EFBIG,
	    "full: could not write 65536 bytes at 10: File too large");
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
	assert_int_equal(host_size(f), 10);
	assert_int_equal(stat("full", &st), 0);
	assert_int_equal(st.st_size, 10);
	host_put(f);
}

static void failed_sync(void **state)
{
	struct hostfile *f = open_new("sync", 0);
	struct err e = ERR_INIT;

	(void)state;
	fake.sync_errno = EINTR;
	assert_ok(host_sync(f, &e), &e);
	assert_int_equal(fake.syncs, 2);
	fake.sync_errno = ENOSPC;
	assert_fails(
	    host_sync(f, &e), &e, ENOSPC, "sync: could not sync: No space");
	assert_fails(host_sync(f, &e), &e, EIO, "an earlier sync lost data");
	host_put(f);
}

static void sync_flags(void **state)
{
	struct hostfile *f = open_new("flags", HOST_DSYNC);
	struct err e = ERR_INIT;

	(void)state;
	assert_ok(host_pwrite(f, "a", 1, 0, &e), &e);
	assert_int_equal(fake.syncs, 1);
	assert_ok(host_truncate(f, 100, &e), &e);
	assert_int_equal(fake.syncs, 2);
	assert_ok(host_zero(f, 0, 50, HOST_ZERO_PUNCH, &e), &e);
	assert_int_equal(fake.syncs, 3);
	fake.sync_errno = EIO;
	assert_fails(host_pwrite(f, "a", 1, 0, &e), &e, EIO, "sync");
	host_put(f);

	f = open_new("flags", HOST_NOSYNC);
	assert_ok(host_pwrite(f, "a", 1, 0, &e), &e);
	assert_ok(host_sync(f, &e), &e);
	assert_int_equal(fake.syncs, 0);
	host_put(f);
}

static void check_zero(struct hostfile *f, uint64_t off, uint64_t len)
{
	uint8_t *got = malloc(len);
	struct err e = ERR_INIT;

	assert_ok(host_pread(f, got, len, off, &e), &e);
	for (uint64_t i = 0; i < len; i++)
		assert_int_equal(got[i], 0);
	free(got);
}

/* A file system without fallocate is asked once for each thing. */
static void no_fallocate(void **state)
{
	static uint8_t buf[3 * 1024 * 1024];
	struct hostfile *f = open_new("plain", 0);
	struct err e = ERR_INIT;

	(void)state;
	memset(buf, 'x', sizeof buf);
	assert_ok(host_pwrite(f, buf, sizeof buf, 0, &e), &e);
	fake.space_errno = EOPNOTSUPP;
	assert_fails(host_zero(f, 0, 10, HOST_ZERO_PUNCH | HOST_ZERO_FAST, &e),
	    &e, ENOTSUP, "plain: could not zero without writing 10 bytes at 0");
	assert_int_equal(fake.attempts, 2);
	assert_int_equal(host_punch(f, 0, 10, &e), 0);
	assert_no_error(&e);
	assert_fails(host_allocate(f, 0, 10, &e), &e, ENOTSUP, "allocate");
	assert_int_equal(fake.attempts, 3);
	fake.space_errno = 0;
	assert_fails(host_allocate(f, 0, 10, &e), &e, ENOTSUP, "allocate");
	assert_int_equal(fake.attempts, 3);

	assert_ok(host_zero(f, 1, sizeof buf, 0, &e), &e);
	assert_int_equal(host_size(f), sizeof buf + 1);
	check_zero(f, 1, sizeof buf);
	assert_ok(host_pread(f, buf, 1, 0, &e), &e);
	assert_int_equal(buf[0], 'x');
	host_put(f);
}

static void space(void **state)
{
	struct hostfile *f = open_new("space", 0);
	struct err e = ERR_INIT;

	(void)state;
	fake.space_errno = EINTR;
	assert_ok(host_allocate(f, 0, 1 << 20, &e), &e);
	assert_int_equal(fake.attempts, 2);
	assert_int_equal(host_size(f), 1 << 20);
	assert_true(host_disk_len(f) >= 1 << 20);
	fake.space_errno = ENOSPC;
	assert_fails(host_zero(f, 0, 10, 0, &e), &e, ENOSPC,
	    "space: could not zero 10 bytes at 0: No space left");
	assert_fails(host_punch(f, 0, 10, &e), &e, ENOSPC, "discard");
	fake.space_errno = 0;
	assert_int_equal(host_punch(f, 0, 1 << 20, &e), 1);
	assert_true(host_disk_len(f) < 1 << 20);
	assert_int_equal(host_size(f), 1 << 20);
	host_put(f);
}

/* Holes, as another program made them. */
static void holes(void **state)
{
	struct hostfile *f = open_new("holes", 0);
	struct host_extent x;
	struct err e = ERR_INIT;

	(void)state;
	assert_ok(host_truncate(f, 4 << 20, &e), &e);
	assert_int_equal(system("printf abc | dd of=holes bs=1M seek=1 "
				"conv=notrunc status=none"),
	    0);
	assert_ok(host_map(f, 100, 4 << 20, &x, &e), &e);
	assert_true(x.hole);
	assert_int_equal(x.len, (1 << 20) - 100);
	assert_ok(host_map(f, 100, 50, &x, &e), &e);
	assert_true(x.hole);
	assert_int_equal(x.len, 50);
	assert_ok(host_map(f, 1 << 20, 3 << 20, &x, &e), &e);
	assert_false(x.hole);
	assert_in_range(x.len, 3, 1 << 20);
	assert_ok(host_map(f, 2 << 20, 3 << 20, &x, &e), &e);
	assert_true(x.hole);
	assert_int_equal(x.len, 2 << 20);
	host_put(f);
}

/* Reads that do not wait, where the file system has none of these, too. */
static void in_memory(void **state)
{
	char name[] = "/dev/shm/imgd-test.XXXXXX", buf[4096];
	const struct iovec iov = {buf, sizeof buf};
	int fd = mkstemp(name);
	struct err e = ERR_INIT;
	struct hostfile *f;
	struct statfs fs;

	(void)state;
	if (fd < 0 || fstatfs(fd, &fs) || fs.f_type != TMPFS_MAGIC)
		skip();
	f = host_open_file(name, HOST_RDWR, &e);
	assert_no_error(&e);
	unlink(name);
	close(fd);
	memset(buf, 'a', sizeof buf);
	assert_ok(host_pwrite(f, buf, sizeof buf, 0, &e), &e);
	memset(buf, 'b', sizeof buf);
	assert_true(many_cached(f, &iov, 1, 0));
	assert_int_equal(buf[0] + buf[4095], 2 * 'a');
	assert_false(many_cached(f, &iov, 1, 1));
	host_put(f);
}

/* Is there data from here on, as far as 3 MiB?  How often was the system asked?
 */
static unsigned data_at(struct hostfile *f, uint64_t off)
{
	unsigned before = fake.seeks;
	struct host_extent x;
	struct err e = ERR_INIT;

	assert_ok(host_map(f, off, 16 << 20, &x, &e), &e);
	assert_false(x.hole);
	assert_int_equal(x.len, (3 << 20) - off);
	return fake.seeks - before;
}

static bool hole_at(struct hostfile *f, uint64_t off)
{
	struct host_extent x;
	struct err e = ERR_INIT;

	assert_ok(host_map(f, off, 1, &x, &e), &e);
	return x.hole;
}

/* A run of data is looked for once, until space is changed. */
static void data_is_seen(void **state)
{
	struct hostfile *f = open_new("seen", 0);
	uint8_t *data = calloc(3, 1 << 20);
	struct err e = ERR_INIT;

	(void)state;
	assert_non_null(data);
	memset(data, 1, 3 << 20);
	assert_ok(host_pwrite(f, data, 2 << 20, 1 << 20, &e), &e);
	assert_ok(host_truncate(f, 4 << 20, &e), &e);
	assert_int_equal(data_at(f, (1 << 20) + 512), 2);
	assert_int_equal(data_at(f, (1 << 20) + 512), 0);
	assert_int_equal(data_at(f, (3 << 20) - 1), 0);
	assert_int_equal(data_at(f, 1 << 20), 2);
	assert_true(hole_at(f, 0) && hole_at(f, 3 << 20));

	data_at(f, 1 << 20);
	if (host_punch(f, 2 << 20, 1 << 16, &e) > 0)
		assert_true(hole_at(f, 2 << 20));
	assert_ok(host_pwrite(f, data, 1 << 16, 2 << 20, &e), &e);
	data_at(f, 1 << 20);
	assert_ok(host_truncate(f, 1 << 20, &e), &e);
	assert_ok(host_truncate(f, 4 << 20, &e), &e);
	assert_true(hole_at(f, 2 << 20));

	assert_ok(host_pwrite(f, data, 3 << 20, 0, &e), &e);
	data_at(f, 0);
	assert_ok(host_replace(f, data, 1 << 16, &e), &e);
	assert_ok(host_pwrite(f, data, 1, 3 << 20, &e), &e);
	assert_true(hole_at(f, 2 << 20));
	free(data);
	host_put(f);
}

static void copying(void **state)
{
	static const int cannot[] = {EXDEV, EOPNOTSUPP, EINVAL};
	struct hostfile *src = open_new("src", 0), *dst = open_new("dst", 0);
	struct err e = ERR_INIT;
	uint8_t want[10000], got[10000];
	struct rng r = {1};
	int64_t n;

	(void)state;
	rng_fill(&r, want, sizeof want);
	assert_ok(host_pwrite(src, want, sizeof want, 0, &e), &e);
	for (unsigned i = 0; i < ARRAY_N(cannot); i++) {
		fake.space_errno = cannot[i];
		assert_int_equal(host_copy(dst, 0, src, 0, 100, &e), 0);
		assert_no_error(&e);
	}
	fake.space_errno = ENOSPC;
	assert_fails(host_copy(dst, 7, src, 0, 100, &e), &e, ENOSPC,
	    "dst: could not copy 100 bytes at 7");
	assert_int_equal(host_size(dst), 0);
	assert_int_equal(host_copy(dst, 7, src, sizeof want, 100, &e), 0);

	fake.space_errno = EINTR;
	n = host_copy(dst, 4096, src, 100, UINT64_MAX / 2, &e);
	assert_no_error(&e);
	if (!n)
		skip(); /* not in this kernel */
	assert_int_equal(host_size(dst), 4096 + n);
	assert_ok(host_pread(dst, got, (size_t)n, 4096, &e), &e);
	assert_memory_equal(got, want + 100, (size_t)n);
	check_zero(dst, 0, 4096);
	host_put(src);
	host_put(dst);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(short_transfers),
	    cmocka_unit_test(cut_by_others),
	    cmocka_unit_test(failed_growth),
	    cmocka_unit_test(failed_sync),
	    cmocka_unit_test(sync_flags),
	    cmocka_unit_test(no_fallocate),
	    cmocka_unit_test(space),
	    cmocka_unit_test(holes),
	    cmocka_unit_test(data_is_seen),
	    cmocka_unit_test(in_memory),
	    cmocka_unit_test(copying),
	};

	umask(022);
	tmpdir_enter();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
