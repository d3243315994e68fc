/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A disk with bitmaps becomes smaller, and a host call fails in the middle.
 * Size and bitmaps in memory agree with each other and with what the disk
 * reads, and with the file: a bitmap that does not say that it is inconsistent
 * covers all that is not as it was.  An image that can be written still can be
 * shrunk again.
 */
#include <stdlib.h>

#include "check.h"
#include "crash.h"
#include "effort.h"
#include "faultfile.h"
#include "formats/core/units.h"
#include "formats/image.h"
#include "hostio.h"
#include "rng.h"

#define OLD (1536 * KiB)
#define NEW (301 * KiB + SECTOR_LEN)

static const struct way {
	unsigned kinds;
	int errnum;
	bool stays;
} ways[] = {
    {FAULT_READ, EIO, false},
    {FAULT_WRITE | FAULT_ZERO, EIO, false},
    {FAULT_WRITE | FAULT_ZERO, EIO, true},
    {FAULT_SYNC, EIO, false},
    {FAULT_CHANGES & ~FAULT_SYNC, ENOSPC, true},
};

struct trial {
	struct hostfile *under, *f;
	struct image *img;
	uint8_t *base; /* the disk when the bitmaps began */
	unsigned failed_n, old_n, new_n;
};

static uint8_t *read_disk(struct image *img)
{
	struct err e = ERR_INIT;
	uint8_t *buf = calloc(1, OLD);

	assert_non_null(buf);
	assert_ok(img_pread(img, buf, img_size(img), 0, &e), &e);
	return buf;
}

static void write_some(struct image *img, struct rng *rng, unsigned n)
{
	struct err e = ERR_INIT;
	uint8_t buf[9000];

	while (n--) {
		uint64_t off = rng_below(rng, img_size(img) - sizeof buf);

		rng_fill(rng, buf, sizeof buf);
		assert_ok(img_pwrite(img, buf, sizeof buf, off, 0, &e), &e);
	}
}

/* An image with something in it, and bitmaps since then. */
static struct hostfile *make(const char *options, uint8_t **base)
{
	struct rng rng = {3};
	struct err e = ERR_INIT;
	struct crashfile *c = crashfile_new(&e);
	struct hostfile *f = host_open_memory("template", 0, &e), *from;
	struct image *img;

	assert_no_error(&e);
	crash_create(c, "qcow2", OLD, options, NULL);
	from = crashfile_host(c);
	assert_ok(hostio_copy(f, from, &e), &e);
	host_put(from);
	crashfile_free(c);
	img = crash_must_open(f, "qcow2", IMG_O_RDWR);
	write_some(img, &rng, 60);
	assert_ok(img_bitmap_add(img, "on", 512, true, &e), &e);
	assert_ok(img_bitmap_add(img, "off", 4096, false, &e), &e);
	*base = read_disk(img);
	write_some(img, &rng, 3);
	assert_ok(img_close(img, &e), &e);
	return f;
}

/* What the bitmap calls clean is as it was.  NULL: it is inconsistent. */
static void expect_covers(struct trial *t, struct image *img)
{
	CLEANUP_FREE uint8_t *now = read_disk(img);
	struct img_bitmap_extent x;
	struct err e = ERR_INIT;

	for (uint64_t off = 0; off < img_size(img); off += x.len) {
		assert_ok(
		    img_bitmap_map(img, "on", off, img_size(img) - off, &x, &e),
		    &e);
		if (!x.dirty)
			assert_memory_equal(t->base + off, now + off, x.len);
	}
	assert_ok(img_bitmap_map(img, "off", 0, img_size(img), &x, &e), &e);
}

static bool is_inconsistent(struct image *img)
{
	struct img_bitmap *list;
	struct err e = ERR_INIT;
	bool is;
	size_t n;

	assert_ok(img_bitmaps(img, &list, &n, &e), &e);
	assert_int_equal(n, 2);
	is = list[0].inconsistent || list[1].inconsistent;
	img_bitmaps_free(list, n);
	return is;
}

/* In memory, while nothing fails any more. */
static void look_at_handle(struct trial *t, bool *writable)
{
	uint64_t size = img_size(t->img);
	struct err e = ERR_INIT;

	assert_true(size == OLD || size == NEW);
	t->old_n += size == OLD;
	t->new_n += size == NEW;
	expect_covers(t, t->img);
	*writable = !img_pwrite(t->img, "more", 4, 5000, 0, &e);
	t->failed_n += !*writable;
	if (*writable)
		expect_covers(t, t->img);
	else
		assert_int_equal(e.errnum, EIO);
}

static void look_at_file(struct trial *t, uint64_t size, bool writable)
{
	struct err e = ERR_INIT;
	struct image *img;

	crash_check(t->under, "qcow2");
	img = crash_must_open(t->under, "qcow2", IMG_O_RDWR);
	if (writable)
		assert_int_equal(img_size(img), size);
	else
		assert_true(img_size(img) == OLD || img_size(img) == NEW);
	if (!is_inconsistent(img)) {
		expect_covers(t, img);
		assert_ok(img_resize(img, NEW, IMG_PREALLOC_OFF, &e), &e);
		expect_covers(t, img);
	} else {
		assert_false(writable);
	}
	assert_ok(img_close(img, &e), &e);
}

/* False when there was no Nth call. */
static bool fault(struct trial *t, struct hostfile *template,
    const struct way *way, uint64_t nth)
{
	struct err e = ERR_INIT;
	bool hit, writable;
	uint64_t size;
	int rc;

	t->under = host_open_memory("shrink", 0, &e);
	assert_ok(hostio_copy(t->under, template, &e), &e);
	t->f = faultfile_new(host_ref(t->under), &e);
	assert_no_error(&e);
	t->img = crash_must_open(t->f, "qcow2", IMG_O_RDWR | IMG_O_DISCARD);
	faultfile_fail(t->f, way->kinds, nth, way->errnum, way->stays);
	rc = img_resize(t->img, NEW, IMG_PREALLOC_OFF, &e);
	hit = faultfile_hit(t->f);
	faultfile_fail(t->f, 0, 0, 0, false);
	assert_true(hit || !rc);
	assert_true(rc || img_size(t->img) == NEW);
	err_clear(&e);
	look_at_handle(t, &writable);
	assert_true(rc || writable);
	size = img_size(t->img);
	if (img_close(t->img, &e))
		assert_false(writable);
	look_at_file(t, size, writable);
	host_put(t->f);
	host_put(t->under);
	return hit;
}

static void faults(void **state)
{
	struct trial t = {0};
	struct hostfile *template = make(*state, &t.base);

	for (size_t i = 0; i < ARRAY_N(ways); i++) {
		uint64_t nth = 1;

		while (fault(&t, template, &ways[i], nth))
			nth += 1 + nth / EFFORT(20, 4);
		assert_true(nth > 3);
	}
	/* All kinds of ends were met. */
	assert_true(t.failed_n && t.old_n && t.new_n);
	host_put(template);
	free(t.base);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_prestate(faults, (void *)"cluster_size=512"),
	    cmocka_unit_test_prestate(faults, (void *)"cluster_size=4k"),
	    cmocka_unit_test_prestate(
		faults, (void *)"cluster_size=16k,extended_l2=on"),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
