/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Power or host calls fail while a disk with dirty bitmaps is written and its
 * bitmaps are changed.  What is found afterwards: a bitmap that does not say
 * that it is inconsistent covers all that differs from what the disk was when
 * the bitmap was made or cleared; and without writes none is inconsistent.
 */
#include <stdio.h>
#include <stdlib.h>

#include "check.h"
#include "crash.h"
#include "effort.h"
#include "faultfile.h"
#include "formats/core/units.h"
#include "formats/image.h"
#include "rng.h"

#define SIZE_START (1200 * KiB)
#define SIZE_END   (2300 * KiB) /* more than a cluster of bits: see scenes */
#define BITMAP_N   3u
#define STEPS	   60u
#define IMAGES	   4u /* at each sync */
#define GO_ON	   5u /* every so many images */

struct scene {
	const char *options;
	uint64_t granularity;
};

static const struct scene scenes[] = {
    {"cluster_size=512", 512},
    {"cluster_size=512,refcount_bits=1", 4096},
    {"cluster_size=64k", 512},
    {"cluster_size=16k,extended_l2=on", 65536},
};

enum presence { ABSENT = 0, PRESENT, EITHER };

struct world {
	const struct scene *scene;
	struct crashfile *crash; /* or NULL */
	struct hostfile *file;
	struct image *img;
	struct rng rng;
	enum presence presence[BITMAP_N];
	uint8_t *base[BITMAP_N]; /* the disk then; zeroes behind its end */
	bool gap[BITMAP_N];	 /* it was disabled since: it may miss writes */
	bool may_void;		 /* there were writes since all was stored */
	bool must;		 /* no call may fail */
	uint64_t size[2];	 /* that the disk may have */
	unsigned image_n, void_n, clean_n;
};

static void bitmap_name(char name[8], size_t i)
{
	snprintf(name, 8, "b%zu", i);
}

/* ---- what is found ----------------------------------------------------------
 */

static struct image *open_on(struct hostfile *f, unsigned flags)
{
	const struct img_open how = {.format = "qcow2", .flags = flags};
	struct err e = ERR_INIT;
	struct image *img = img_open_host(host_ref(f), &how, &e);

	assert_no_error(&e);
	return img;
}

static uint8_t *read_disk(struct image *img, struct err *e)
{
	uint8_t *buf = calloc(1, SIZE_END);

	assert_non_null(buf);
	if (!img_pread(img, buf, img_size(img), 0, e))
		return buf;
	free(buf);
	return NULL;
}

static void expect_covers(struct image *img, const char *name,
    const uint8_t *base, const uint8_t *now)
{
	struct img_bitmap_extent x = {0};
	struct err e = ERR_INIT;

	for (uint64_t off = 0; off < img_size(img); off += x.len) {
		assert_ok(
		    img_bitmap_map(img, name, off, img_size(img) - off, &x, &e),
		    &e);
		if (!x.dirty)
			assert_memory_equal(base + off, now + off, x.len);
	}
}

static void judge_bitmaps(
    struct world *w, struct image *img, const uint8_t *now)
{
	bool found[BITMAP_N] = {false};
	struct err e = ERR_INIT;
	struct img_bitmap *list;
	size_t n;

	assert_ok(img_bitmaps(img, &list, &n, &e), &e);
	for (size_t i = 0; i < n; i++) {
		size_t ix = (size_t)(list[i].name[1] - '0');

		found[ix] = true;
		if (list[i].inconsistent) {
			assert_true(w->may_void);
			w->void_n++;
			continue;
		}
		if (!w->gap[ix])
			expect_covers(img, list[i].name, w->base[ix], now);
		w->clean_n++;
	}
	for (size_t i = 0; i < BITMAP_N; i++)
		if (w->presence[i] != EITHER)
			assert_int_equal(found[i], w->presence[i]);
	img_bitmaps_free(list, n);
}

/* An image that was left, closed or not. */
static void judge(struct world *w, struct hostfile *f)
{
	struct image *img;
	struct err e = ERR_INIT;
	uint8_t *now;

	crash_check(f, "qcow2");
	img = open_on(f, 0);
	if (w->must)
		assert_true(
		    img_size(img) == w->size[0] || img_size(img) == w->size[1]);
	now = read_disk(img, &e);
	assert_no_error(&e);
	judge_bitmaps(w, img, now);
	free(now);
	img_drop(img);
}

/* It can be written; what is inconsistent stays so until it is removed. */
static void go_on(struct hostfile *f)
{
	struct image *img = open_on(f, IMG_O_RDWR);
	struct img_bitmap *before, *after;
	struct err e = ERR_INIT;
	size_t n, after_n;

	assert_ok(img_bitmaps(img, &before, &n, &e), &e);
	assert_ok(img_pwrite(img, "go on", 5, SIZE_START / 4, 0, &e), &e);
	assert_ok(img_close(img, &e), &e);
	img = open_on(f, IMG_O_RDWR);
	assert_ok(img_bitmaps(img, &after, &after_n, &e), &e);
	assert_int_equal(n, after_n);
	for (size_t i = 0; i < n; i++) {
		assert_int_equal(before[i].inconsistent, after[i].inconsistent);
		assert_ok(img_bitmap_remove(img, after[i].name, &e), &e);
	}
	img_bitmaps_free(before, n);
	img_bitmaps_free(after, n);
	assert_ok(img_close(img, &e), &e);
	crash_check(f, "qcow2");
}

static void power_fails(void *arg, struct crashfile *c, unsigned barrier)
{
	struct world *w = arg;

	for (uint64_t i = 0; i < IMAGES; i++) {
		struct err e = ERR_INIT;
		uint64_t seed = i < 2 ? i : 2 + barrier * IMAGES + i;
		struct hostfile *f = crashfile_image(c, seed, &e);

		assert_no_error(&e);
		judge(w, f);
		if (w->image_n++ % GO_ON == 0)
			go_on(f);
		host_put(f);
	}
}

/* ---- what is done -----------------------------------------------------------
 */

/* 0, or -1 where that may be. */
static int done(const struct world *w, int rc, const struct err *e)
{
	if (rc && w->must)
		fail_msg("unexpected error: %s", e->msg);
	return rc;
}

static void random_write(struct world *w)
{
	uint64_t off = rng_below(&w->rng, img_size(w->img));
	uint64_t len = rng_below(&w->rng, 20000);
	struct err e = ERR_INIT;
	uint8_t buf[20000];
	int rc;

	len = min_u64(len, img_size(w->img) - off);
	w->may_void = true;
	rng_fill(&w->rng, buf, len);
	if (rng_below(&w->rng, 4))
		rc = img_pwrite(w->img, buf, len, off, 0, &e);
	else
		rc = img_zero(w->img, len, off, 0, &e);
	done(w, rc, &e);
}

static void flush(struct world *w)
{
	struct err e = ERR_INIT;

	done(w, img_flush(w->img, &e), &e);
}

/* The disk as it is now is where the bitmap begins. */
static int take_base(struct world *w, size_t i)
{
	struct err e = ERR_INIT;
	uint8_t *now = read_disk(w->img, &e);

	if (done(w, now ? 0 : -1, &e))
		return -1;
	free(w->base[i]);
	w->base[i] = now;
	return 0;
}

static void add_or_remove(struct world *w, size_t i)
{
	enum presence after = w->presence[i] == PRESENT ? ABSENT : PRESENT;
	struct err e = ERR_INIT;
	char name[8];
	int rc;

	bitmap_name(name, i);
	if (after == PRESENT && take_base(w, i))
		return;
	w->presence[i] = EITHER;
	if (after == PRESENT)
		rc = img_bitmap_add(
		    w->img, name, w->scene->granularity, true, &e);
	else
		rc = img_bitmap_remove(w->img, name, &e);
	if (done(w, rc, &e))
		return;
	w->presence[i] = after;
	w->gap[i] = false;
	w->may_void = false;
}

static void clear(struct world *w, size_t i)
{
	struct err e = ERR_INIT;
	char name[8];

	bitmap_name(name, i);
	if (w->presence[i] != PRESENT || take_base(w, i))
		return;
	if (done(w, img_bitmap_clear(w->img, name, &e), &e))
		return;
	if (!done(w, img_bitmap_enable(w->img, name, true, &e), &e))
		w->gap[i] = w->may_void = false;
}

static void disable(struct world *w, size_t i)
{
	struct err e = ERR_INIT;
	char name[8];

	bitmap_name(name, i);
	if (w->presence[i] != PRESENT)
		return;
	w->gap[i] = true;
	if (!done(w, img_bitmap_enable(w->img, name, false, &e), &e))
		w->may_void = false;
}

static void merge(struct world *w, size_t i, size_t from)
{
	struct err e = ERR_INIT;
	char name[8], from_name[8];

	bitmap_name(name, i);
	bitmap_name(from_name, from);
	if (w->presence[i] != PRESENT || w->presence[from] != PRESENT)
		return;
	if (!done(w, img_bitmap_merge(w->img, name, w->img, from_name, &e), &e))
		w->may_void = false;
}

static void resize(struct world *w)
{
	uint64_t size =
	    SECTOR_LEN *
	    (SIZE_START / SECTOR_LEN +
		rng_below(&w->rng, (SIZE_END - SIZE_START) / SECTOR_LEN));
	struct err e = ERR_INIT;

	w->may_void = true;
	w->size[1] = size;
	if (done(w, img_resize(w->img, size, IMG_PREALLOC_OFF, &e), &e))
		return;
	w->may_void = false;
	w->size[0] = size;
	for (size_t i = 0; i < BITMAP_N; i++)
		if (w->base[i])
			memset(w->base[i] + size, 0, SIZE_END - size);
}

static void step(struct world *w)
{
	size_t i = rng_below(&w->rng, BITMAP_N);

	switch (rng_below(&w->rng, 16)) {
	case 0:
	case 1:
		add_or_remove(w, i);
		break;
	case 2:
		clear(w, i);
		break;
	case 3:
		merge(w, i, rng_below(&w->rng, BITMAP_N));
		break;
	case 4:
		resize(w);
		break;
	case 5:
		flush(w);
		break;
	case 6:
		disable(w, i);
		break;
	default:
		random_write(w);
		break;
	}
}

/* Open, some steps, close. */
static void session(struct world *w, unsigned step_n)
{
	struct err e = ERR_INIT;
	const struct img_open how = {.format = "qcow2", .flags = IMG_O_RDWR};

	w->img = img_open_host(host_ref(w->file), &how, &e);
	if (done(w, w->img ? 0 : -1, &e))
		return;
	for (unsigned i = 0; i < step_n; i++)
		step(w);
	if (!done(w, img_close(w->img, &e), &e))
		w->may_void = false;
}

static void world_init(
    struct world *w, const struct scene *scene, uint64_t seed)
{
	*w = (struct world){.scene = scene,
	    .rng = {.state = seed},
	    .must = true,
	    .size = {SIZE_START, SIZE_START}};
}

static void world_clear(struct world *w)
{
	for (size_t i = 0; i < BITMAP_N; i++)
		free(w->base[i]);
	host_put(w->file);
}

/* ---- crashes ----------------------------------------------------------------
 */

static void crashes(void **state)
{
	struct err e = ERR_INIT;
	unsigned void_n = 0, clean_n = 0;

	for (uint64_t seed = 1; seed <= EFFORT(4, 1); seed++) {
		struct world w;

		world_init(&w, *state, seed);
		w.crash = crashfile_new(&e);
		assert_no_error(&e);
		crash_create(
		    w.crash, "qcow2", SIZE_START, w.scene->options, false);
		w.file = crashfile_host(w.crash);
		crashfile_on_sync(w.crash, power_fails, &w);
		for (unsigned i = 0; i < 3; i++) {
			session(&w, STEPS / 3);
			judge(&w, w.file);
		}
		void_n += w.void_n;
		clean_n += w.clean_n;
		world_clear(&w);
		crashfile_free(w.crash);
	}
	/* Both were there to be looked at. */
	assert_true(void_n > 100 && clean_n > 100);
}

/* ---- faults -----------------------------------------------------------------
 */

static const struct way {
	unsigned kinds;
	int errnum;
	bool stays;
} ways[] = {
    {FAULT_READ, EIO, false},
    {FAULT_WRITE | FAULT_ZERO, EIO, false},
    {FAULT_SYNC, EIO, false},
    {FAULT_CHANGES & ~FAULT_SYNC, ENOSPC, true},
};

static struct hostfile *new_image(const struct scene *scene)
{
	struct err e = ERR_INIT;
	CLEANUP(options) struct options *o = options_new(&e);
	struct hostfile *f = host_open_memory("disk", 0, &e);
	char size[24];

	snprintf(size, sizeof size, "%llu", SIZE_START);
	assert_ok(options_parse(o, scene->options, NULL, &e), &e);
	assert_ok(options_set(o, "size", size, &e), &e);
	assert_ok(img_create_host(f, "qcow2", o, &e), &e);
	return f;
}

/* False when there was no Nth call. */
static bool fault(const struct scene *scene, const struct way *way, uint64_t n)
{
	struct hostfile *f = new_image(scene);
	struct err e = ERR_INIT;
	struct world w;
	bool hit;

	world_init(&w, scene, 7);
	w.must = false;
	w.file = faultfile_new(host_ref(f), &e);
	assert_no_error(&e);
	faultfile_fail(w.file, way->kinds, n, way->errnum, way->stays);
	session(&w, STEPS / 2);
	session(&w, STEPS / 4);
	hit = faultfile_hit(w.file);
	w.may_void = true;
	for (size_t i = 0; i < BITMAP_N; i++)
		w.presence[i] = EITHER;
	judge(&w, f);
	world_clear(&w);
	go_on(f);
	host_put(f);
	return hit;
}

static void faults(void **state)
{
	for (size_t i = 0; i < ARRAY_N(ways); i++) {
		uint64_t n = 1;

		while (fault(*state, &ways[i], n))
			n += EFFORT(1, 17);
		assert_true(n > 20);
	}
}

int main(void)
{
	struct CMUnitTest tests[2 * ARRAY_N(scenes)];
	size_t n = 0;

	for (size_t i = 0; i < ARRAY_N(scenes); i++) {
		void *scene = (void *)(uintptr_t)&scenes[i];

		tests[n++] = (struct CMUnitTest){.name = scenes[i].options,
		    .test_func = crashes,
		    .initial_state = scene};
		tests[n++] = (struct CMUnitTest){.name = scenes[i].options,
		    .test_func = faults,
		    .initial_state = scene};
	}
	return _cmocka_run_group_tests("bitmap", tests, n, NULL, NULL);
}
