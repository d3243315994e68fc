/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Sharing blocks between host files: what a system may answer, and what is
 * told of it.  The system call below stands in for that of libc.
 */
#include <linux/fs.h>
#include <stdarg.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "check.h"
#include "formats/core/units.h"
#include "formats/host/hostfile.h"
#include "rng.h"
#include "tmpdir.h"

static int fake_errno; /* of the next clone; 0: it is done */

/* Cloning, as a file system with blocks of 4096 bytes does it. */
static int clone_range(int fd, const struct file_clone_range *r)
{
	static uint8_t buf[1 << 20];
	size_t len = r->src_length;
	struct stat st;

	errno = fake_errno;
	fake_errno = 0;
	if (errno)
		return -1;
	assert_int_equal(fstat((int)r->src_fd, &st), 0);
	if (!len && r->src_offset == (uint64_t)st.st_size)
		return 0;
	if ((r->src_offset | r->dest_offset | len) % 4096 ||
	    r->src_offset + len > (uint64_t)st.st_size) {
		errno = EINVAL;
		return -1;
	}
	assert_true(len <= sizeof buf);
	assert_int_equal(
	    pread((int)r->src_fd, buf, len, (off_t)r->src_offset), len);
	assert_int_equal(pwrite(fd, buf, len, (off_t)r->dest_offset), len);
	return 0;
}

int ioctl(int fd, unsigned long request, ...)
{
	va_list args;
	void *arg;

	va_start(args, request);
	arg = va_arg(args, void *);
	va_end(args);
	if (request == FICLONERANGE)
		return clone_range(fd, arg);
	return (int)syscall(SYS_ioctl, fd, request, arg);
}

static struct hostfile *open_new(const char *name)
{
	struct err e = ERR_INIT;
	struct hostfile *f =
	    host_open_file(name, HOST_RDWR | HOST_CREATE | HOST_TRUNC, &e);

	assert_no_error(&e);
	return f;
}

static void cloning(void **state)
{
	static const int cannot[] = {EXDEV, EOPNOTSUPP, EINVAL, ENOTTY};
	struct hostfile *src = open_new("src"), *dst = open_new("dst");
	struct hostfile *memory;
	struct err e = ERR_INIT;
	static const uint8_t zeroes[4096];
	uint8_t want[10000], got[8192];
	struct rng r = {1};

	(void)state;
	rng_fill(&r, want, sizeof want);
	assert_ok(host_pwrite(src, want, sizeof want, 0, &e), &e);
	for (unsigned i = 0; i < ARRAY_N(cannot); i++) {
		fake_errno = cannot[i];
		assert_int_equal(host_clone_unit(dst, src), 0);
		fake_errno = cannot[i];
		assert_int_equal(host_clone(dst, 0, src, 0, 4096, &e), 0);
		assert_no_error(&e);
	}
	fake_errno = ENOSPC;
	assert_fails(host_clone(dst, 8192, src, 0, 4096, &e), &e, ENOSPC,
	    "dst: could not clone 4096 bytes at 8192");
	assert_int_equal(host_size(dst), 0);

	fake_errno = EINTR;
	assert_int_not_equal(host_clone_unit(dst, src), 0);
	assert_int_equal(host_size(dst), 0);
	/* Past the end of src, or none of its blocks. */
	assert_int_equal(host_clone(dst, 0, src, 4096, 8192, &e), 0);
	assert_int_equal(host_clone(dst, 0, src, 100, 4096, &e), 0);
	fake_errno = EINTR;
	assert_int_equal(host_clone(dst, 4096, src, 0, 8192, &e), 1);
	assert_no_error(&e);
	assert_int_equal(host_size(dst), 4096 + 8192);
	assert_ok(host_pread(dst, got, 8192, 4096, &e), &e);
	assert_memory_equal(got, want, 8192);
	assert_ok(host_pread(dst, got, 4096, 0, &e), &e);
	assert_memory_equal(got, zeroes, 4096);

	memory = host_open_memory("memory", 8192, &e);
	assert_non_null(memory);
	assert_int_equal(host_clone_unit(memory, src), 0);
	assert_int_equal(host_clone_unit(dst, memory), 0);
	assert_int_equal(host_clone(memory, 0, src, 0, 4096, &e), 0);
	assert_int_equal(host_clone(dst, 0, memory, 0, 4096, &e), 0);
	assert_no_error(&e);
	host_put(memory);
	host_put(src);
	host_put(dst);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(cloning),
	};

	tmpdir_enter();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
