/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdlib.h>

#include "check.h"
#include "disk.h"
#include "faultfile.h"
#include "formats/core/units.h"
#include "rng.h"
#include "tmpdir.h"

#define SIZE (5 * MiB + 512)

static uint8_t bytes[SIZE];

static struct img_compare compare(struct disk *a, struct disk *b, bool strict)
{
	struct img_compare c = {
	    .a = a->img, .b = b->img, .strict = strict, .threads = 3};
	struct err e = ERR_INIT;

	assert_ok(img_compare(&c, &e), &e);
	return c;
}

static void expect_same(struct disk *a, struct disk *b)
{
	struct img_compare c = compare(a, b, false);

	assert_int_equal(c.result, IMG_SAME);
	assert_false(c.size_differs);
}

static void expect_differ(struct disk *a, struct disk *b, uint64_t off)
{
	struct img_compare c = compare(a, b, false);

	assert_int_equal(c.result, IMG_DIFFER_CONTENT);
	assert_int_equal(c.offset, off);
	c = compare(b, a, false);
	assert_int_equal(c.result, IMG_DIFFER_CONTENT);
	assert_int_equal(c.offset, off);
}

/* Of several differences the first one is found, by its sector. */
static void content(void **state)
{
	struct disk a = disk_new("raw", SIZE, NULL);
	struct disk b = disk_new("qcow2", SIZE, NULL);
	struct rng r = {.state = 1};
	uint64_t first = 0;

	(void)state;
	disk_fill(&a, bytes, 1);
	while (!bytes[first])
		first++;
	expect_differ(&a, &b, round_down(first, 512));
	first = SIZE;
	disk_fill(&b, bytes, 1);
	expect_same(&a, &b);
	for (unsigned i = 0; i < 40; i++) {
		uint64_t at = rng_below(&r, SIZE);

		bytes[at] ^= 1;
		disk_write(&b, bytes + at, 1, at);
		first = min_u64(first, at);
		expect_differ(&a, &b, round_down(first, 512));
	}
	disk_free(&a);
	disk_free(&b);
}

/* Zeroes are equal however they are stored. */
static void zeroes(void **state)
{
	struct disk a = disk_new("qcow2", SIZE, NULL);
	struct disk b = disk_new("raw", SIZE, NULL);
	struct err e = ERR_INIT;

	(void)state;
	expect_same(&a, &b);
	memset(bytes, 0, SIZE);
	disk_write(&b, bytes, SIZE, 0);
	expect_same(&a, &b);
	disk_write(&a, "x", 1, SIZE - 1);
	assert_ok(img_zero(a.img, 65536, MiB, 0, &e), &e);
	expect_differ(&a, &b, SIZE - 512);
	disk_free(&a);
	disk_free(&b);
}

static void sizes(void **state)
{
	struct disk a = disk_new("raw", SIZE, NULL);
	struct disk b = disk_new("raw", SIZE + MiB, NULL);
	struct img_compare c;

	(void)state;
	disk_fill(&a, bytes, 2);
	disk_write(&b, bytes, SIZE, 0);
	c = compare(&a, &b, false);
	assert_int_equal(c.result, IMG_SAME);
	assert_true(c.size_differs);
	c = compare(&b, &a, true);
	assert_int_equal(c.result, IMG_DIFFER_SIZE);

	disk_write(&b, "x", 1, SIZE + 70000);
	c = compare(&a, &b, false);
	assert_int_equal(c.result, IMG_DIFFER_CONTENT);
	assert_int_equal(c.offset, round_down(SIZE + 70000, 512));
	assert_true(c.size_differs);

	/* A difference inside comes before the sizes are looked at. */
	bytes[4096] ^= 1;
	disk_write(&b, bytes, SIZE, 0);
	c = compare(&b, &a, false);
	assert_int_equal(c.result, IMG_DIFFER_CONTENT);
	assert_int_equal(c.offset, 4096);
	assert_false(c.size_differs);
	disk_free(&a);
	disk_free(&b);
}

static void strict(void **state)
{
	struct disk a = disk_new("qcow2", SIZE, NULL);
	struct disk b = disk_new("qcow2", SIZE, NULL);
	struct img_compare c;

	(void)state;
	disk_fill(&a, bytes, 3);
	disk_fill(&b, bytes, 3);
	c = compare(&a, &b, true);
	assert_int_equal(c.result, IMG_SAME);

	/* Zeroes where the other one has nothing. */
	disk_free(&a);
	disk_free(&b);
	a = disk_new("qcow2", SIZE, NULL);
	b = disk_new("qcow2", SIZE, NULL);
	memset(bytes, 0, SIZE);
	disk_write(&b, bytes, 65536, MiB);
	expect_same(&a, &b);
	c = compare(&a, &b, true);
	assert_int_equal(c.result, IMG_DIFFER_STATUS);
	assert_int_equal(c.offset, MiB);
	disk_write(&b, "x", 1, 0);
	disk_write(&a, "y", 1, 0);
	c = compare(&a, &b, true);
	assert_int_equal(c.result, IMG_DIFFER_CONTENT);
	assert_int_equal(c.offset, 0);
	disk_free(&a);
	disk_free(&b);
}

/* ---- the same host bytes ------------------------------------------------- */

static struct disk file(const char *name)
{
	struct err e = ERR_INIT;
	struct hostfile *f = host_open_file(
	    name, HOST_RDWR | HOST_CREATE | HOST_TRUNC | HOST_NOLOCK, &e);

	assert_no_error(&e);
	return disk_new_on(
	    faultfile_new(f, &e), "qcow2", SIZE, "cluster_size=4k");
}

/* What two handles find at the same place is not read. */
static void not_read(void **state)
{
	struct disk a = file("one"), b = {0};
	struct err e = ERR_INIT;
	const struct img_open how = {.format = "qcow2"};
	uint64_t before;

	(void)state;
	disk_fill(&a, bytes, 4);
	assert_ok(img_flush(a.img, &e), &e);
	b.file = host_ref(a.file);
	b.img = img_open_host(host_ref(a.file), &how, &e);
	assert_no_error(&e);
	expect_same(&a, &b); /* loads the tables */
	before = faultfile_calls(a.file, FAULT_READ);
	expect_same(&a, &b);
	assert_int_equal(faultfile_calls(a.file, FAULT_READ), before);
	disk_free(&b);
	disk_free(&a);
}

/* ---- failures ------------------------------------------------------------ */

static void failures(void **state)
{
	struct disk a = file("two"), b = disk_new("raw", SIZE, NULL);
	struct img_compare c = {.a = b.img, .b = a.img, .threads = 1};
	struct err e = ERR_INIT;

	(void)state;
	memset(bytes, 'x', SIZE);
	disk_write(&a, bytes, SIZE, 0);
	disk_write(&b, bytes, SIZE, 0);
	expect_same(&a, &b); /* loads the tables */
	faultfile_fail(a.file, FAULT_READ, 2, EIO, true);
	assert_fails(img_compare(&c, &e), &e, EIO,
	    "Error while reading offset 2097152 of two");
	assert_true(c.read_failed);

	/* A difference before the failure is what counts. */
	disk_write(&b, "y", 1, 5000);
	faultfile_fail(a.file, FAULT_READ, 2, EIO, true);
	assert_ok(img_compare(&c, &e), &e);
	assert_int_equal(c.offset, 4608);
	disk_free(&b);

	/* The map of a new handle cannot be read. */
	faultfile_fail(a.file, 0, 0, 0, false);
	disk_reopen(&a, "qcow2");
	b = disk_new("raw", SIZE, NULL);
	c.a = b.img;
	c.b = a.img;
	faultfile_fail(a.file, FAULT_READ, 1, EIO, true);
	assert_fails(img_compare(&c, &e), &e, EIO, "");
	assert_false(c.read_failed);
	disk_free(&a);
	disk_free(&b);
}

static int stop(void *arg, uint64_t done, uint64_t total)
{
	(void)arg;
	assert_true(done <= total);
	return done > MiB;
}

static void stopped(void **state)
{
	struct disk a = disk_new("raw", SIZE, NULL);
	struct disk b = disk_new("raw", SIZE, NULL);
	struct img_compare c = {
	    .a = b.img, .b = a.img, .threads = 1, .progress = {stop, NULL}};
	struct err e = ERR_INIT;

	(void)state;
	disk_fill(&a, bytes, 5);
	disk_write(&b, bytes, SIZE, 0);
	assert_fails(img_compare(&c, &e), &e, ECANCELED, "");
	disk_free(&a);
	disk_free(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(content),
	    cmocka_unit_test(zeroes),
	    cmocka_unit_test(sizes),
	    cmocka_unit_test(strict),
	    cmocka_unit_test(not_read),
	    cmocka_unit_test(failures),
	    cmocka_unit_test(stopped),
	};

	tmpdir_enter();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
