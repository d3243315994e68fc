/* SPDX-License-Identifier: BSD-3-Clause */
/* The POSIX host file: how it is opened, and what is refused. */
#include <fcntl.h>
#include <sys/stat.h>

#include "check.h"
#include "formats/host/hostfile.h"
#include "tmpdir.h"

static struct hostfile *open_new(const char *name, unsigned flags)
{
	struct err e = ERR_INIT;
	struct hostfile *f = host_open_file(
	    name, HOST_RDWR | HOST_CREATE | HOST_TRUNC | flags, &e);

	assert_no_error(&e);
	return f;
}

static void refuses(
    const char *path, unsigned flags, int errnum, const char *text)
{
	struct err e = ERR_INIT;

	assert_null(host_open_file(path, flags, &e));
	assert_string_equal(e.msg, text);
	assert_int_equal(e.errnum, errnum);
}

static void opening(void **state)
{
	struct hostfile *f;

	(void)state;
	refuses("none", 0, ENOENT,
	    "Could not open 'none': No such file or directory");
	refuses("none/x", HOST_RDWR | HOST_CREATE, ENOENT,
	    "Could not create 'none/x': No such file or directory");
	refuses("", 0, EINVAL, "The 'file' block driver requires a file name");
	assert_int_equal(mkdir("dir", 0777), 0);
	refuses("dir", 0, EINVAL,
	    "'file' driver requires 'dir' to be a regular file");
	refuses(
	    "dir", HOST_RDWR, EISDIR, "Could not open 'dir': Is a directory");
	assert_int_equal(mkfifo("fifo", 0666), 0);
	refuses("fifo", 0, EINVAL,
	    "'file' driver requires 'fifo' to be a regular file");

	f = open_new("new", HOST_EXCL);
	assert_string_equal(f->ops->name, "file");
	assert_false(f->fixed_size);
	assert_int_equal(fcntl(f->fd, F_GETFD), FD_CLOEXEC);
	assert_int_equal(
	    fcntl(f->fd, F_GETFL) & (O_ACCMODE | O_NONBLOCK), O_RDWR);
	host_put(f);
	refuses("new", HOST_RDWR | HOST_CREATE | HOST_EXCL, EEXIST,
	    "Could not create 'new': File exists");
}

static void read_only(void **state)
{
	static const char text[] = "the file is open for reading only";
	struct hostfile *f = open_new("ro", 0), *other;
	struct err e = ERR_INIT;
	char buf[4] = "abc";

	(void)state;
	assert_ok(host_pwrite(f, buf, 4, 0, &e), &e);
	other = f;
	f = host_open_file("ro", 0, &e);
	assert_no_error(&e);
	assert_fails(host_pwrite(f, buf, 1, 0, &e), &e, EBADF, text);
	assert_fails(host_zero(f, 0, 1, 0, &e), &e, EBADF, text);
	assert_fails(host_punch(f, 0, 1, &e), &e, EBADF, text);
	assert_fails(host_allocate(f, 0, 1, &e), &e, EBADF, text);
	assert_fails(host_truncate(f, 0, &e), &e, EBADF, text);
	assert_fails(host_grow(f, 0, &e), &e, EBADF, text);
	assert_fails(host_copy(f, 0, other, 0, 1, &e), &e, EBADF, text);
	assert_ok(host_pread(f, buf, 4, 0, &e), &e);
	assert_string_equal(buf, "abc");
	assert_ok(host_sync(f, &e), &e);
	host_put(f);
	host_put(other);
}

/* Others may hold a file that is to be emptied. */
static void truncating(void **state)
{
	struct hostfile *f = open_new("held", 0);
	struct err e = ERR_INIT;

	(void)state;
	assert_ok(host_pwrite(f, "abc", 3, 0, &e), &e);
	assert_ok(host_lock(f, HOST_PERM_READ, 0, &e), &e);
	assert_null(host_open_file("held", HOST_RDWR | HOST_TRUNC, &e));
	assert_string_equal(e.msg, "Failed to get \"write\" lock");
	err_clear(&e);
	assert_int_equal(host_disk_len(f) > 0, 1);
	host_put(f);
	f = host_open_file("held", HOST_RDWR, &e);
	assert_int_equal(host_size(f), 3);
	host_put(f);
	f = open_new("held", 0);
	assert_int_equal(host_size(f), 0);
	host_put(f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(opening),
	    cmocka_unit_test(read_only),
	    cmocka_unit_test(truncating),
	};

	umask(022);
	tmpdir_enter();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
