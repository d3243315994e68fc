/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Reference counts under many threads that allocate, free and share clusters
 * at the same time, with commits between: no count is lost.
 */
#include <stdlib.h>

#include "check.h"
#include "disk.h"
#include "effort.h"
#include "formats/codec/codec.h"
#include "formats/core/units.h"
#include "rng.h"
#include "tmpdir.h"

#define THREADS	 6u
#define ZONE_LEN (256 * KiB) /* guest bytes of one thread */
#define STEPS	 EFFORT(3000u, 1200u)
#define UNIT_MAX 16384u

static const char *const options[] = {
    "cluster_size=512,refcount_bits=64",
    "cluster_size=512,refcount_bits=1",
    "cluster_size=4k,refcount_bits=2",
    "cluster_size=4k",
    "cluster_size=16k,extended_l2=on",
};

struct worker {
	pthread_t thread;
	struct image *img;
	uint64_t zone;
	struct rng rng;
	uint8_t *want; /* of the zone */
	unsigned done; /* steps */
	struct err e;
};

static int pack_and_write(struct worker *w, uint64_t off)
{
	uint32_t unit = img_cluster_size(w->img);
	uint8_t packed[UNIT_MAX];
	struct codec_ctx *x = codec_ctx_new(CODEC_DEFLATE, 0, &w->e);
	ssize_t len = -1;

	off = round_down(off, unit);
	memset(w->want + off, (int)rng_below(&w->rng, 255), unit);
	if (x)
		len =
		    codec_pack(x, packed, unit - 1, w->want + off, unit, &w->e);
	codec_ctx_free(x);
	if (len <= 0)
		return -1;
	return img_write_packed(
	    w->img, packed, (size_t)len, w->zone + off, &w->e);
}

static int step(struct worker *w)
{
	uint64_t off = rng_below(&w->rng, ZONE_LEN);
	uint64_t len = 1 + rng_below(&w->rng, ZONE_LEN / 8);

	len = min_u64(len, ZONE_LEN - off);
	switch (rng_below(&w->rng, 8)) {
	case 0:
		return pack_and_write(w, off);
	case 1:
	case 2:
		memset(w->want + off, 0, len);
		return img_zero(
		    w->img, len, w->zone + off, IMG_MAY_TRIM, &w->e);
	case 3:
		return img_flush(w->img, &w->e);
	}
	memset(w->want + off, (int)rng_below(&w->rng, 255), len);
	return img_pwrite(w->img, w->want + off, len, w->zone + off, 0, &w->e);
}

static void *work(void *arg)
{
	struct worker *w = arg;

	while (w->done < STEPS && !step(w))
		w->done++;
	return NULL;
}

static void counts(void **state)
{
	struct disk d = disk_new("qcow2", THREADS * ZONE_LEN, *state);
	struct worker worker[THREADS];

	disk_reopen_as(&d, &(struct img_open){.format = "qcow2",
			       .flags = IMG_O_RDWR | IMG_O_DISCARD});
	for (unsigned i = 0; i < THREADS; i++) {
		worker[i] = (struct worker){.img = d.img,
		    .zone = i * ZONE_LEN,
		    .rng = {i + 1},
		    .want = calloc(1, ZONE_LEN),
		    .e = ERR_INIT};
		assert_non_null(worker[i].want);
		assert_int_equal(
		    pthread_create(&worker[i].thread, NULL, work, &worker[i]),
		    0);
	}
	for (unsigned i = 0; i < THREADS; i++) {
		assert_int_equal(pthread_join(worker[i].thread, NULL), 0);
		assert_no_error(&worker[i].e);
		assert_int_equal(worker[i].done, STEPS);
	}
	disk_check(&d, false);
	disk_reopen(&d, "qcow2");
	for (unsigned i = 0; i < THREADS; i++) {
		disk_expect(&d, worker[i].want, ZONE_LEN, worker[i].zone);
		free(worker[i].want);
	}
	disk_free(&d);
}

int main(void)
{
	struct CMUnitTest tests[ARRAY_N(options)];

	for (size_t i = 0; i < ARRAY_N(options); i++)
		tests[i] = (struct CMUnitTest){.name = options[i],
		    .test_func = counts,
		    .initial_state = (void *)(uintptr_t)options[i]};

	tmpdir_enter();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
