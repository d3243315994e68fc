/* SPDX-License-Identifier: BSD-3-Clause */
#include "check.h"
#include "faultfile.h"

static struct hostfile *file;

static int setup(void **state)
{
	struct err e = ERR_INIT;

	(void)state;
	file = faultfile_new(host_open_memory("m", 0, &e), &e);
	assert_no_error(&e);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	host_put(file);
	return 0;
}

static int write_byte(uint64_t off, struct err *e)
{
	return host_pwrite(file, "x", 1, off, e);
}

static void nth(void **state)
{
	struct err e = ERR_INIT;

	(void)state;
	faultfile_fail(file, FAULT_WRITE, 2, ENOSPC, false);
	assert_ok(write_byte(0, &e), &e);
	assert_false(faultfile_hit(file));
	assert_ok(host_sync(file, &e), &e);
	assert_fails(write_byte(1, &e), &e, ENOSPC, "could not write");
	assert_true(faultfile_hit(file));
	assert_int_equal(host_size(file), 1);
	assert_ok(write_byte(2, &e), &e);
	assert_int_equal(faultfile_calls(file, FAULT_WRITE), 3);
	assert_int_equal(faultfile_calls(file, FAULT_SYNC), 1);
	assert_int_equal(faultfile_calls(file, FAULT_WRITE | FAULT_SYNC), 4);
}

static void stays(void **state)
{
	struct err e = ERR_INIT;
	char byte = 1;

	(void)state;
	faultfile_fail(file, FAULT_CHANGES, 2, EIO, true);
	assert_ok(write_byte(0, &e), &e);
	assert_fails(host_sync(file, &e), &e, EIO, "sync");
	assert_fails(write_byte(1, &e), &e, EIO, "write");
	assert_fails(host_truncate(file, 9, &e), &e, EIO, "resize");
	assert_ok(host_pread(file, &byte, 1, 0, &e), &e);
	assert_int_equal(byte, 'x');
	faultfile_fail(file, FAULT_ALL, 0, EIO, false);
	assert_ok(write_byte(1, &e), &e);
}

static void each_kind(void **state)
{
	struct host_extent x;
	struct err e = ERR_INIT;
	char byte;

	(void)state;
	assert_ok(write_byte(0, &e), &e);
	faultfile_fail(file, FAULT_READ, 1, EIO, true);
	assert_fails(host_pread(file, &byte, 1, 0, &e), &e, EIO, "read");
	faultfile_fail(file, FAULT_MAP, 1, EIO, true);
	assert_fails(host_map(file, 0, 1, &x, &e), &e, EIO, "map");
	faultfile_fail(file, FAULT_PUNCH, 1, EIO, true);
	assert_fails(host_punch(file, 0, 1, &e), &e, EIO, "discard");
	faultfile_fail(file, FAULT_ZERO, 1, EIO, true);
	assert_fails(host_zero(file, 0, 1, 0, &e), &e, EIO, "zero");
	faultfile_fail(file, FAULT_ALLOCATE, 1, EIO, true);
	assert_fails(host_allocate(file, 0, 1, &e), &e, EIO, "allocate");
	faultfile_fail(file, FAULT_ALL, 0, 0, false);

	/* Without faults it does what the file below does. */
	assert_ok(host_pread(file, &byte, 1, 0, &e), &e);
	assert_int_equal(byte, 'x');
	assert_ok(host_zero(file, 0, 1, HOST_ZERO_FAST, &e), &e);
	assert_fails(host_allocate(file, 0, 1, &e), &e, ENOTSUP, "allocate");
	assert_int_equal(host_punch(file, 0, 1, &e), 1);
	assert_ok(host_pread(file, &byte, 1, 0, &e), &e);
	assert_int_equal(byte, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(nth, setup, teardown),
	    cmocka_unit_test_setup_teardown(stays, setup, teardown),
	    cmocka_unit_test_setup_teardown(each_kind, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
