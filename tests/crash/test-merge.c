/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Power fails while the top of a chain is merged into its base.  What the disk
 * reads does not change by that, so it has to be there at any moment, from
 * whatever the two files are found to be.
 */
#include <stdlib.h>

#include "check.h"
#include "crash.h"
#include "formats/core/units.h"
#include "formats/driver.h"
#include "rng.h"

#define SIZE   (600 * KiB)
#define SEEDS  12u
#define LAYERS 2u /* 0: the base */

struct trial {
	struct crashfile *file[LAYERS];
	uint8_t want[SIZE];
	unsigned images;
};

/* The chain on two host files, whose references it takes. */
static struct image *open_chain(
    struct hostfile *base, struct hostfile *top, unsigned flags)
{
	struct img_open how = {.format = "qcow2", .flags = flags};
	struct err e = ERR_INIT;
	struct image *img;

	how.flags |= IMG_O_NO_BACKING;
	img = img_open_host(top, &how, &e);
	assert_no_error(&e);
	img->backing = img_open_host(base, &how, &e);
	assert_no_error(&e);
	return img;
}

static void look(struct trial *t, uint64_t seed)
{
	struct err e = ERR_INIT;
	struct hostfile *f[LAYERS];
	CLEANUP_FREE uint8_t *got = malloc(SIZE);
	struct image *img;

	for (unsigned i = 0; i < LAYERS; i++) {
		f[i] = crashfile_image(t->file[i], seed, &e);
		assert_no_error(&e);
		crash_check(f[i], "qcow2");
	}
	img = open_chain(f[0], f[1], IMG_O_RDWR);
	assert_ok(img_pread(img, got, SIZE, 0, &e), &e);
	assert_memory_equal(got, t->want, SIZE);
	assert_ok(img_pwrite(img, got, 70000, 1000, IMG_FUA, &e), &e);
	assert_ok(img_close(img, &e), &e);
	t->images++;
}

static void power_fails(void *arg, struct crashfile *c, unsigned barrier)
{
	(void)c;
	for (uint64_t seed = 0; seed < SEEDS; seed++)
		look(arg, seed < 2 ? seed : barrier * SEEDS + seed);
}

static struct hostfile *host_of(struct trial *t, unsigned i)
{
	return crashfile_host(t->file[i]);
}

/* Random bytes and zeroes in both layers; want[] gets what the top has. */
static void fill(struct trial *t, uint64_t seed, bool snapshot)
{
	struct rng r = {.state = seed};
	struct err e = ERR_INIT;
	struct image *img =
	    open_chain(host_of(t, 0), host_of(t, 1), IMG_O_RDWR);

	for (unsigned i = 0; i < 24; i++) {
		struct image *layer = i < 12 ? img->backing : img;
		uint64_t off = rng_below(&r, SIZE);
		uint64_t len = 1 + rng_below(&r, min_u64(SIZE - off, 60000));

		rng_fill(&r, t->want, len);
		if (i % 4)
			assert_ok(
			    img_pwrite(layer, t->want, len, off, 0, &e), &e);
		else
			assert_ok(img_zero(layer, len, off, 0, &e), &e);
		if (snapshot && i == 18)
			assert_ok(img_snapshot_create(layer, "s", &e), &e);
	}
	assert_ok(img_pread(img, t->want, SIZE, 0, &e), &e);
	assert_ok(img_close(img, &e), &e);
}

static void merge(struct trial *t)
{
	struct err e = ERR_INIT;
	struct img_merge job = {0};

	job.top = open_chain(
	    host_of(t, 0), host_of(t, 1), IMG_O_RDWR | IMG_O_DISCARD);
	job.base = img_backing(job.top);
	for (unsigned i = 0; i < LAYERS; i++)
		crashfile_on_sync(t->file[i], power_fails, t);
	assert_ok(img_merge(&job, &e), &e);
	assert_ok(img_close(job.top, &e), &e);
	for (unsigned i = 0; i < LAYERS; i++)
		crashfile_on_sync(t->file[i], NULL, NULL);
	/* And when all is done. */
	look(t, 0);
}

static void one_trial(const char *options, uint64_t seed, bool snapshot)
{
	static struct trial t;
	struct err e = ERR_INIT;

	t = (struct trial){0};
	for (unsigned i = 0; i < LAYERS; i++) {
		t.file[i] = crashfile_new(&e);
		assert_no_error(&e);
		crash_create(
		    t.file[i], "qcow2", SIZE, options, i ? "base" : NULL);
	}
	fill(&t, seed, snapshot);
	merge(&t);
	assert_true(t.images > 4 * SEEDS);
	for (unsigned i = 0; i < LAYERS; i++)
		crashfile_free(t.file[i]);
}

static void clusters_512(void **state)
{
	(void)state;
	one_trial("cluster_size=512", 1, false);
	one_trial("cluster_size=512,refcount_bits=64", 2, true);
}

static void clusters_4k(void **state)
{
	(void)state;
	one_trial("cluster_size=4k", 3, true);
	one_trial("cluster_size=4k,compat=0.10", 4, false);
}

static void clusters_64k(void **state)
{
	(void)state;
	one_trial("cluster_size=64k", 5, false);
	one_trial("cluster_size=16k,extended_l2=on", 6, true);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(clusters_512),
	    cmocka_unit_test(clusters_4k),
	    cmocka_unit_test(clusters_64k),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
