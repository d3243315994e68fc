/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Several writers of a disk with bitmaps, which are looked at and changed
 * meanwhile: nothing that was written is missing in the end.
 */
#include <pthread.h>

#include "check.h"
#include "disk.h"
#include "formats/core/batch.h"
#include "formats/core/units.h"
#include "rng.h"

#define SIZE	(8 * MiB)
#define GRAIN	4096u
#define WRITERS 3u
#define WRITES	1000u

struct writer {
	struct image *img;
	struct rng rng;
	uint8_t written[SIZE / GRAIN];
	struct err e;
};

static int write_one(struct writer *w, uint8_t *buf, size_t len, uint64_t off)
{
	struct batch *b = batch_new(&w->e);
	struct img_request rq = {
	    .op = IMG_WRITE, .buf = buf, .len = len, .off = off};
	int rc = b ? img_plan(w->img, &rq, b, &w->e) : -1;

	if (rc == 1) {
		batch_run(b);
		rc = img_finish(w->img, &rq, &w->e);
	} else if (!rc) {
		rc = img_pwrite(w->img, buf, len, off, 0, &w->e);
	}
	batch_free(b);
	return rc;
}

static void *write_many(void *arg)
{
	static const uint8_t zeroes[3 * GRAIN];
	struct writer *w = arg;

	for (unsigned i = 0; i < WRITES && !err_is_set(&w->e); i++) {
		uint64_t off = rng_below(&w->rng, SIZE - sizeof zeroes);
		size_t len = 1 + rng_below(&w->rng, sizeof zeroes - 1);
		uint64_t first = off / GRAIN, last = (off + len - 1) / GRAIN;

		write_one(w, (uint8_t *)zeroes, len, off);
		memset(w->written + first, 1, last - first + 1);
	}
	return NULL;
}

/* Changes that take nothing away from "kept". */
static void change(struct image *img, unsigned i, struct err *e)
{
	struct img_bitmap_extent x;

	assert_ok(img_bitmap_map(img, "kept", 0, SIZE, &x, e), e);
	assert_ok(img_bitmap_add(img, "passing", 512, i % 2, e), e);
	assert_ok(img_bitmap_merge(img, "passing", img, "kept", e), e);
	assert_ok(img_bitmap_enable(img, "passing", !(i % 2), e), e);
	assert_ok(img_bitmap_remove(img, "passing", e), e);
	assert_ok(img_flush(img, e), e);
}

static void expect_dirty(struct image *img, const struct writer *w)
{
	struct img_bitmap_extent x;
	struct err e = ERR_INIT;

	for (uint64_t i = 0; i < SIZE / GRAIN; i++) {
		bool want = false;

		for (unsigned k = 0; k < WRITERS; k++)
			want |= w[k].written[i];
		assert_ok(
		    img_bitmap_map(img, "kept", i * GRAIN, GRAIN, &x, &e), &e);
		assert_int_equal(x.dirty, want);
	}
}

static void writers(void **state)
{
	static struct writer w[WRITERS];
	struct disk d = disk_new("qcow2", SIZE, "preallocation=metadata");
	struct err e = ERR_INIT;
	pthread_t thread[WRITERS];

	(void)state;
	assert_ok(img_bitmap_add(d.img, "kept", GRAIN, true, &e), &e);
	for (unsigned i = 0; i < WRITERS; i++) {
		w[i] = (struct writer){.img = d.img, .rng = {.state = i}};
		assert_int_equal(
		    pthread_create(&thread[i], NULL, write_many, &w[i]), 0);
	}
	for (unsigned i = 0; i < 10; i++)
		change(d.img, i, &e);
	for (unsigned i = 0; i < WRITERS; i++) {
		pthread_join(thread[i], NULL);
		assert_no_error(&w[i].e);
	}
	expect_dirty(d.img, w);
	disk_reopen(&d, "qcow2");
	expect_dirty(d.img, w);
	disk_free(&d);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(writers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
