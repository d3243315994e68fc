/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Dirty bitmaps against arrays with a byte for each granule: random writes and
 * changes of bitmaps, with the image closed and opened on the way.
 */
#include <stdio.h>
#include <stdlib.h>

#include "check.h"
#include "disk.h"
#include "effort.h"
#include "formats/core/batch.h"
#include "formats/core/cleanup.h"
#include "formats/core/units.h"
#include "rng.h"

#define BITMAP_MAX 4u
#define SIZE_MAX_  (6 * MiB)
#define GRAIN	   512u /* of the arrays */

/* What a bitmap must be. */
struct want {
	char name[16];
	uint64_t granularity;
	bool enabled;
	uint8_t dirty[SIZE_MAX_ / GRAIN];
};

struct subject {
	struct disk d;
	struct rng rng;
	struct want want[BITMAP_MAX];
	size_t n;
	unsigned made; /* names used so far */
	struct err e;
};

/* ---- the arrays ---------------------------------------------------------- */

static void want_set(
    struct subject *s, struct want *w, uint64_t off, uint64_t len)
{
	uint64_t size = img_size(s->d.img);
	uint64_t start = round_down(off, w->granularity);
	uint64_t end =
	    min_u64(round_up(off + len, w->granularity), round_up(size, GRAIN));

	if (len)
		memset(w->dirty + start / GRAIN, 1, (end - start) / GRAIN);
}

static void want_write(struct subject *s, uint64_t off, uint64_t len)
{
	for (size_t i = 0; i < s->n; i++)
		if (s->want[i].enabled)
			want_set(s, &s->want[i], off, len);
}

/* ---- comparing ------------------------------------------------------------
 */

static void expect_extents(struct subject *s, const struct want *w)
{
	uint64_t size = img_size(s->d.img), off = 0;
	struct img_bitmap_extent x = {0};

	for (; off < size; off += x.len) {
		assert_ok(img_bitmap_map(
			      s->d.img, w->name, off, size - off, &x, &s->e),
		    &s->e);
		assert_in_range(x.len, 1, size - off);
		for (uint64_t at = off; at < off + x.len; at += GRAIN)
			assert_int_equal(x.dirty, w->dirty[at / GRAIN]);
		/* As long as can be. */
		if (off + x.len < size)
			assert_int_equal(
			    x.dirty, !w->dirty[(off + x.len) / GRAIN]);
	}
}

static void expect_bitmaps(struct subject *s)
{
	struct img_bitmap *list;
	size_t n;

	assert_ok(img_bitmaps(s->d.img, &list, &n, &s->e), &s->e);
	assert_int_equal(n, s->n);
	for (size_t i = 0; i < n; i++) {
		assert_string_equal(list[i].name, s->want[i].name);
		assert_int_equal(list[i].granularity, s->want[i].granularity);
		assert_int_equal(list[i].enabled, s->want[i].enabled);
		assert_false(list[i].inconsistent);
		expect_extents(s, &s->want[i]);
	}
	img_bitmaps_free(list, n);
}

static void no_finding(void *arg, const char *line)
{
	(void)arg;
	fail_msg("check: %s", line);
}

static void expect_clean(struct subject *s)
{
	struct img_check c;

	assert_ok(img_check(s->d.img, &c, no_finding, NULL, &s->e), &s->e);
	assert_int_equal(c.corruptions + c.leaks + c.check_errors, 0);
}

static void reopen(struct subject *s)
{
	struct img_open how = {.format = "qcow2"};

	assert_ok(img_close(s->d.img, &s->e), &s->e);
	s->d.img = img_open_host(host_ref(s->d.file), &how, &s->e);
	assert_no_error(&s->e);
	expect_clean(s);
	expect_bitmaps(s);
	img_drop(s->d.img);
	how.flags = IMG_O_RDWR | IMG_O_DISCARD;
	s->d.img = img_open_host(host_ref(s->d.file), &how, &s->e);
	assert_no_error(&s->e);
}

/* ---- writes ---------------------------------------------------------------
 */

static void planned_write(
    struct subject *s, void *buf, size_t len, uint64_t off)
{
	struct batch *b = batch_new(&s->e);
	struct img_request rq = {
	    .op = IMG_WRITE, .buf = buf, .len = len, .off = off};
	int rc = img_plan(s->d.img, &rq, b, &s->e);

	assert_no_error(&s->e);
	batch_run(b);
	if (rc)
		assert_ok(img_finish(s->d.img, &rq, &s->e), &s->e);
	else
		disk_write(&s->d, buf, len, off);
	batch_free(b);
}

static void random_write(struct subject *s)
{
	uint64_t size = img_size(s->d.img), off = rng_below(&s->rng, size);
	uint64_t len = min_u64(rng_below(&s->rng, 200000), size - off);
	CLEANUP_FREE uint8_t *buf = calloc(1, len + 1);
	struct image *img = s->d.img;

	switch (rng_below(&s->rng, 4)) {
	case 0:
		rng_fill(&s->rng, buf, len);
		disk_write(&s->d, buf, len, off);
		break;
	case 1:
		assert_ok(img_zero(img, len, off, 0, &s->e), &s->e);
		break;
	case 2:
		assert_ok(img_trim(img, len, off, IMG_FUA, &s->e), &s->e);
		break;
	default:
		planned_write(s, buf, len, off);
		break;
	}
	want_write(s, off, len);
}

static void random_resize(struct subject *s)
{
	uint64_t old = img_size(s->d.img);
	uint64_t size =
	    SECTOR_LEN * (1 + rng_below(&s->rng, SIZE_MAX_ / SECTOR_LEN - 1));

	assert_ok(img_resize(s->d.img, size, IMG_PREALLOC_OFF, &s->e), &s->e);
	for (size_t i = 0; i < s->n; i++) {
		struct want *w = &s->want[i];
		uint64_t end = round_up(old, w->granularity);

		if (size < old)
			memset(w->dirty + size / GRAIN, 0,
			    (SIZE_MAX_ - size) / GRAIN);
		/* The last granule is larger now. */
		else if (w->dirty[old / GRAIN - 1])
			memset(w->dirty + old / GRAIN, 1,
			    (min_u64(end, size) - old) / GRAIN);
	}
}

/* ---- changes of bitmaps -----------------------------------------------------
 */

static void add(struct subject *s)
{
	struct want *w = &s->want[s->n];

	if (s->n == BITMAP_MAX)
		return;
	memset(w, 0, sizeof *w);
	snprintf(w->name, sizeof w->name, "b%u", s->made++);
	w->granularity = 512ull << rng_below(&s->rng, 12);
	w->enabled = rng_below(&s->rng, 2);
	assert_ok(img_bitmap_add(
		      s->d.img, w->name, w->granularity, w->enabled, &s->e),
	    &s->e);
	s->n++;
}

static void remove_one(struct subject *s, size_t i)
{
	assert_ok(img_bitmap_remove(s->d.img, s->want[i].name, &s->e), &s->e);
	s->n--;
	memmove(&s->want[i], &s->want[i + 1], (s->n - i) * sizeof s->want[0]);
}

static void merge(struct subject *s, struct want *to, const struct want *from)
{
	assert_ok(
	    img_bitmap_merge(s->d.img, to->name, s->d.img, from->name, &s->e),
	    &s->e);
	for (uint64_t at = 0; at < img_size(s->d.img); at += GRAIN)
		if (from->dirty[at / GRAIN])
			want_set(s, to, at, 1);
}

static void random_change(struct subject *s)
{
	size_t i = s->n ? rng_below(&s->rng, s->n) : 0;
	struct want *w = &s->want[i];

	if (!s->n || !rng_below(&s->rng, 4)) {
		add(s);
		return;
	}
	switch (rng_below(&s->rng, 5)) {
	case 0:
		remove_one(s, i);
		break;
	case 1:
		assert_ok(img_bitmap_clear(s->d.img, w->name, &s->e), &s->e);
		memset(w->dirty, 0, sizeof w->dirty);
		break;
	case 2:
	case 3:
		w->enabled = !w->enabled;
		assert_ok(
		    img_bitmap_enable(s->d.img, w->name, w->enabled, &s->e),
		    &s->e);
		break;
	default:
		merge(s, w, &s->want[rng_below(&s->rng, s->n)]);
		break;
	}
}

static void history(const char *options, uint64_t seed)
{
	struct subject *s = calloc(1, sizeof *s);

	assert_non_null(s);
	s->rng.state = seed;
	s->d = disk_new("qcow2",
	    SECTOR_LEN * (1 + rng_below(&s->rng, SIZE_MAX_ / SECTOR_LEN - 1)),
	    options);
	reopen(s);
	for (unsigned i = 0; i < 60; i++) {
		uint64_t what = rng_below(&s->rng, 20);

		if (what < 8)
			random_write(s);
		else if (what < 16)
			random_change(s);
		else if (what < 18)
			random_resize(s);
		else
			reopen(s);
		expect_bitmaps(s);
	}
	reopen(s);
	disk_free(&s->d);
	free(s);
}

static void histories(void **state)
{
	static const char *const options[] = {"cluster_size=65536",
	    "cluster_size=512", "cluster_size=2M", "extended_l2=on",
	    "refcount_bits=1,cluster_size=4096"};

	(void)state;
	for (size_t i = 0; i < ARRAY_N(options); i++)
		for (uint64_t seed = 1; seed <= EFFORT(6, 2); seed++)
			history(options[i], 100 * i + seed);
}

/* ---- one by one -------------------------------------------------------------
 */

static void refusals(void **state)
{
	struct disk d = disk_new("qcow2", MiB, NULL);
	struct disk other = disk_new("qcow2", 2 * MiB, NULL);
	struct disk raw = disk_new("raw", MiB, NULL);
	struct img_bitmap_extent x;
	struct err e = ERR_INIT;
	char name[1025] = {0};

	(void)state;
	memset(name, 'n', 1024);
	assert_fails(img_bitmap_add(d.img, name, 0, true, &e), &e, EINVAL,
	    "Name length exceeds maximum (1023 characters)");
	name[1023] = 0;
	assert_ok(img_bitmap_add(d.img, name, 0, true, &e), &e);
	assert_fails(img_bitmap_add(d.img, name, 0, true, &e), &e, EEXIST,
	    "Bitmap already exists");
	assert_fails(img_bitmap_add(d.img, "", 0, true, &e), &e, EINVAL,
	    "name cannot be empty");
	for (uint64_t g = 1; g; g = g < 1u << 31 ? g * 257 : 0)
		assert_fails(img_bitmap_add(d.img, "x", g, true, &e), &e,
		    EINVAL, "Granularity must be");
	assert_fails(img_bitmap_add(d.img, "x", 1ull << 32, true, &e), &e,
	    EINVAL, "Granularity must be");
	assert_fails(
	    img_bitmap_remove(d.img, "x", &e), &e, ENOENT, "'x' not found");
	assert_fails(
	    img_bitmap_clear(d.img, "x", &e), &e, ENOENT, "'x' not found");
	assert_fails(img_bitmap_enable(d.img, "x", true, &e), &e, ENOENT,
	    "'x' not found");
	assert_fails(img_bitmap_merge(d.img, name, d.img, "x", &e), &e, ENOENT,
	    "'x' not found");
	assert_fails(img_bitmap_map(d.img, "x", 0, 1, &x, &e), &e, ENOENT,
	    "'x' not found");
	assert_fails(img_bitmap_map(d.img, name, MiB, 1, &x, &e), &e, EINVAL,
	    "outside the disk");
	assert_ok(img_bitmap_add(other.img, "o", 0, true, &e), &e);
	assert_fails(img_bitmap_merge(d.img, name, other.img, "o", &e), &e,
	    EINVAL, "destination size is 1048576, source size is 2097152");
	assert_fails(img_resize(d.img, 0, IMG_PREALLOC_OFF, &e), &e, EINVAL,
	    "0 bytes cannot have bitmaps");
	assert_ok(img_snapshot_create(d.img, "s", &e), &e);
	assert_fails(img_snapshot_apply(d.img, "s", &e), &e, EBUSY,
	    "active dirty bitmaps");
	assert_fails(img_bitmap_add(raw.img, "x", 0, true, &e), &e, ENOTSUP,
	    "Can't store persistent bitmaps");
	assert_fails(
	    img_bitmap_remove(raw.img, "x", &e), &e, ENOENT, "'x' not found");
	disk_free(&d);
	disk_free(&other);
	disk_free(&raw);
}

static void refuse_new(uint64_t size, const char *options, uint64_t granularity,
    int errnum, const char *text)
{
	struct disk d = disk_new("qcow2", size, options);
	struct err e = ERR_INIT;

	assert_fails(img_bitmap_add(d.img, "x", granularity, true, &e), &e,
	    errnum, text);
	disk_free(&d);
}

static void limits(void **state)
{
	(void)state;
	refuse_new(MiB, "compat=0.10", 0, ENOTSUP,
	    "Cannot store dirty bitmaps in qcow2 v2 files");
	refuse_new(0, NULL, 0, EINVAL, "0 bytes cannot have bitmaps");
	refuse_new(TiB << 10, "cluster_size=2M", 128 * KiB, EFBIG,
	    "Use larger granularity");
}

static void default_granularity(void **state)
{
	static const struct {
		const char *options;
		uint64_t want;
	} cases[] = {
	    {"cluster_size=512", 4096},
	    {"cluster_size=32k", 32768},
	    {"cluster_size=2M", 65536},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_N(cases); i++) {
		struct disk d = disk_new("qcow2", MiB, cases[i].options);
		struct err e = ERR_INIT;
		struct img_bitmap *list;
		size_t n;

		assert_ok(img_bitmap_add(d.img, "x", 0, true, &e), &e);
		assert_ok(img_bitmaps(d.img, &list, &n, &e), &e);
		assert_int_equal(n, 1);
		assert_int_equal(list[0].granularity, cases[i].want);
		img_bitmaps_free(list, n);
		disk_free(&d);
	}
}

/* Nothing is written to the file while nothing is written to the disk. */
static void reading_changes_nothing(void **state)
{
	struct disk d = disk_new("qcow2", MiB, NULL);
	struct img_bitmap_extent x;
	struct err e = ERR_INIT;
	uint64_t len, len_after;
	uint8_t *before, *after;

	(void)state;
	assert_ok(img_bitmap_add(d.img, "x", 0, true, &e), &e);
	disk_reopen(&d, "qcow2");
	before = disk_bytes(&d, &len);
	assert_ok(img_bitmap_map(d.img, "x", 0, MiB, &x, &e), &e);
	assert_ok(img_trim(d.img, MiB, 0, 0, &e), &e); /* not switched on */
	assert_ok(img_zero(d.img, 0, 0, 0, &e), &e);
	disk_reopen(&d, "qcow2");
	after = disk_bytes(&d, &len_after);
	assert_int_equal(len, len_after);
	assert_memory_equal(before, after, len);
	free(before);
	free(after);
	disk_free(&d);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(histories),
	    cmocka_unit_test(refusals),
	    cmocka_unit_test(limits),
	    cmocka_unit_test(default_granularity),
	    cmocka_unit_test(reading_changes_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
