/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Storage that wants whole blocks or has a fixed size: O_DIRECT, devices.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "check.h"
#include "formats/core/units.h"
#include "formats/host/hostfile.h"
#include "rng.h"
#include "tmpdir.h"

static void null_device(void **state)
{
	struct err e = ERR_INIT;
	struct hostfile *f =
	    host_open_file("/dev/null", HOST_RDWR | HOST_TRUNC, &e);
	char byte = 1;

	(void)state;
	assert_no_error(&e);
	assert_string_equal(f->ops->name, "host_device");
	assert_true(f->fixed_size);
	assert_int_equal(host_size(f), 0);
	assert_ok(host_pread(f, &byte, 1, 7, &e), &e);
	assert_int_equal(byte, 0);
	assert_fails(host_pwrite(f, &byte, 1, 0, &e), &e, ENOSPC,
	    "/dev/null: could not write 1 bytes at 0: No space left");
	assert_fails(host_zero(f, 0, 1, 0, &e), &e, ENOSPC, "zero");
	assert_fails(host_grow(f, 1, &e), &e, ENOSPC, "cannot be resized");
	assert_ok(host_truncate(f, 0, &e), &e);
	assert_ok(host_sync(f, &e), &e);
	host_put(f);
}

/* O_DIRECT: only one of address, length and offset is off its block. */
static void direct_edges(void **state)
{
	static uint8_t want[5 * 4096],
	    buf[5 * 4096] __attribute__((aligned(4096)));
	static const struct {
		uint64_t off;
		size_t shift, len;
	} edge[] = {{0, 0, 4096}, {1, 0, 4096}, {0, 1, 4096}, {0, 0, 4095},
	    {4000, 0, 8192}, {8191, 8, 2}, {8192, 0, 5000}};
	struct err e = ERR_INIT;
	struct hostfile *f = host_open_file(
	    "direct", HOST_RDWR | HOST_CREATE | HOST_TRUNC | HOST_DIRECT, &e);
	struct rng r = {1};

	(void)state;
	if (!f)
		skip();
	assert_in_range(f->align, 512, 65536);
	assert_true(fcntl(f->fd, F_GETFL) & O_DIRECT);
	for (unsigned i = 0; i < ARRAY_N(edge); i++) {
		uint8_t *data = buf + edge[i].shift;

		rng_fill(&r, data, edge[i].len);
		memcpy(want + edge[i].off, data, edge[i].len);
		assert_ok(
		    host_pwrite(f, data, edge[i].len, edge[i].off, &e), &e);
		memset(data, 0xa5, edge[i].len);
		assert_ok(
		    host_pread(f, data, edge[i].len, edge[i].off, &e), &e);
		assert_memory_equal(data, want + edge[i].off, edge[i].len);
		memset(buf, 0xa5, sizeof buf);
		assert_ok(host_pread(f, buf, sizeof buf, 0, &e), &e);
		assert_memory_equal(buf, want, sizeof buf);
	}
	assert_int_equal(host_size(f), 8192 + 5000);
	host_put(f);
}

/* ---- a block device ------------------------------------------------------ */

#define DEVICE_LEN (1u << 20)

/* A loop device over the file "backing"; where there is none, skip. */
static int loop_setup(void **state)
{
	static char name[64];
	FILE *out;

	*state = NULL;
	if (system("truncate -s 1M backing"))
		return -1;
	out = popen("losetup --find --show backing 2>&1", "r");
	if (!out)
		return -1;
	if (fgets(name, sizeof name, out)) {
		name[strcspn(name, "\n")] = 0;
		if (!strncmp(name, "/dev/", 5))
			*state = name;
	}
	pclose(out);
	return 0;
}

static int loop_teardown(void **state)
{
	char command[128];

	if (!*state)
		return 0;
	snprintf(command, sizeof command, "losetup -d %s", (char *)*state);
	return system(command) ? -1 : 0;
}

static void device_limits(struct hostfile *f)
{
	struct err e = ERR_INIT;
	uint8_t byte = 1;

	assert_string_equal(f->ops->name, "host_device");
	assert_true(f->fixed_size);
	assert_int_equal(host_size(f), DEVICE_LEN);
	assert_fails(host_pwrite(f, &byte, 1, DEVICE_LEN, &e), &e, ENOSPC,
	    "could not write 1 bytes at 1048576: No space left");
	assert_fails(host_zero(f, 0, DEVICE_LEN + 1, 0, &e), &e, ENOSPC, "");
	assert_fails(host_allocate(f, 0, DEVICE_LEN + 1, &e), &e, ENOSPC, "");
	assert_fails(host_truncate(f, 512, &e), &e, ENOTSUP,
	    "a device of 1048576 bytes cannot be resized to 512");
	assert_ok(host_grow(f, 512, &e), &e);
	assert_int_equal(host_size(f), DEVICE_LEN);
}

/* One change of want[] and of the device. */
static void device_step(struct hostfile *f, uint8_t *want, struct rng *r)
{
	uint64_t off = rng_below(r, DEVICE_LEN);
	uint64_t len = 1 + rng_below(r, DEVICE_LEN - off);
	unsigned how = (unsigned)rng_below(r, 4);
	struct err e = ERR_INIT;
	int rc = 1;

	if (rng_below(r, 2)) {
		off = round_down(off, 4096);
		len = min_u64(round_up(len, 4096), DEVICE_LEN - off);
	}
	if (how < 2) {
		rng_fill(r, want + off, len);
		assert_ok(host_pwrite(f, want + off, len, off, &e), &e);
		return;
	}
	if (how == 2)
		assert_ok(host_zero(f, off, len, HOST_ZERO_PUNCH, &e), &e);
	else
		assert_ok(rc = host_punch(f, off, len, &e), &e);
	if (rc)
		memset(want + off, 0, len);
}

/* What the device holds is what its backing file holds. */
static void device(void **state)
{
	uint8_t *want = calloc(1, DEVICE_LEN), *got = malloc(DEVICE_LEN);
	struct rng r = {5};
	struct err e = ERR_INIT;

	if (!*state)
		skip();
	for (unsigned direct = 0; direct < 2; direct++) {
		struct hostfile *f = host_open_file(
		    *state, HOST_RDWR | (direct ? HOST_DIRECT : 0), &e);
		int fd = open("backing", O_RDONLY);

		assert_no_error(&e);
		device_limits(f);
		for (unsigned i = 0; i < 100; i++)
			device_step(f, want, &r);
		assert_ok(host_pread(f, got, DEVICE_LEN, 0, &e), &e);
		assert_memory_equal(got, want, DEVICE_LEN);
		assert_ok(host_sync(f, &e), &e);
		assert_int_equal(pread(fd, got, DEVICE_LEN, 0), DEVICE_LEN);
		assert_memory_equal(got, want, DEVICE_LEN);
		close(fd);
		host_put(f);
	}
	free(want);
	free(got);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(null_device),
	    cmocka_unit_test(direct_edges),
	    cmocka_unit_test_setup_teardown(device, loop_setup, loop_teardown),
	};

	tmpdir_enter();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
