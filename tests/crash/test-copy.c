/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Power fails while a disk is copied into an image that exists: each sector is
 * as it was or as it should be, and a snapshot keeps what it has.
 */
#include <stdlib.h>

#include "check.h"
#include "crash.h"
#include "effort.h"
#include "formats/core/units.h"
#include "formats/image.h"
#include "group.h"
#include "rng.h"

#define SIZE  (1200 * KiB)
#define SEEDS EFFORT(6u, 4u)

static struct image *open_snapshot(
    struct hostfile *f, const char *snapshot, struct err *e)
{
	const struct img_open how = {.format = "qcow2", .snapshot = snapshot};

	return img_open_host(f, &how, e);
}

struct trial {
	struct crashfile *c;
	uint8_t old[SIZE], new[SIZE];
	unsigned image_n;
};

static void expect_mixture(const struct trial *t, const uint8_t *got)
{
	for (uint64_t at = 0; at < SIZE; at += SECTOR_LEN)
		assert_true(!memcmp(got + at, t->old + at, SECTOR_LEN) ||
			    !memcmp(got + at, t->new + at, SECTOR_LEN));
}

static void look(struct trial *t, uint64_t seed, bool done)
{
	struct err e = ERR_INIT;
	struct hostfile *f = crashfile_image(t->c, seed, &e);
	CLEANUP_FREE uint8_t *got = malloc(SIZE);
	struct image *img;

	assert_no_error(&e);
	crash_check(f, "qcow2");
	img = crash_must_open(f, "qcow2", IMG_O_RDWR);
	assert_ok(img_pread(img, got, SIZE, 0, &e), &e);
	if (done)
		assert_memory_equal(got, t->new, SIZE);
	else
		expect_mixture(t, got);
	assert_ok(img_pwrite(img, got, 70000, 1000, 0, &e), &e);
	assert_ok(img_close(img, &e), &e);
	img = open_snapshot(f, "s", &e);
	assert_no_error(&e);
	assert_ok(img_pread(img, got, SIZE, 0, &e), &e);
	assert_memory_equal(got, t->old, SIZE);
	img_drop(img);
	t->image_n++;
}

static void look_midway(void *arg, uint64_t seed)
{
	look(arg, seed, false);
}

static int in_between(void *arg, uint64_t now, uint64_t total)
{
	struct trial *t = arg;

	(void)total;
	look(t, now % 3 ? now : 1, false);
	return 0;
}

/* Bytes, zeroes and what compresses. */
static void fill(struct image *img, uint8_t *want, uint64_t seed)
{
	struct rng r = {seed};
	struct err e = ERR_INIT;

	memset(want, 0, SIZE);
	for (unsigned i = 0; i < 12; i++) {
		uint64_t off = rng_below(&r, SIZE);
		uint64_t len = 1 + rng_below(&r, min_u64(SIZE - off, 150000));

		if (i % 3)
			rng_fill(&r, want + off, len);
		else
			memset(want + off, i % 2 ? 0 : (int)i, len);
		assert_ok(img_pwrite(img, want + off, len, off, 0, &e), &e);
	}
	assert_ok(img_flush(img, &e), &e);
}

static struct image *make_source(uint8_t *want)
{
	struct err e = ERR_INIT;
	const struct img_open how = {.format = "raw", .flags = IMG_O_RDWR};
	struct image *img =
	    img_open_host(host_open_memory("source", SIZE, &e), &how, &e);

	assert_no_error(&e);
	fill(img, want, 9);
	return img;
}

static void copy(const char *options, unsigned flags, unsigned threads)
{
	static struct trial t;
	struct crash_watch watch = {SEEDS, look_midway, &t};
	struct err e = ERR_INIT;
	struct hostfile *f;
	struct image *src;
	struct img_copy job = {.src = &src,
	    .src_n = 1,
	    .len = UINT64_MAX,
	    .flags = flags,
	    .threads = threads,
	    .sparse_len = 4096,
	    .progress = {in_between, &t}};

	t = (struct trial){.c = crashfile_new(&e)};
	assert_no_error(&e);
	crash_create(t.c, "qcow2", SIZE, options, NULL);
	f = crashfile_host(t.c);
	job.dst = crash_must_open(f, "qcow2", IMG_O_RDWR);
	host_put(f);
	fill(job.dst, t.old, 4);
	assert_ok(img_snapshot_create(job.dst, "s", &e), &e);
	src = make_source(t.new);
	crash_watch(t.c, &watch);
	assert_ok(img_copy(&job, &e), &e);
	assert_ok(img_flush(job.dst, &e), &e);
	look(&t, 0, true);
	assert_ok(img_close(job.dst, &e), &e);
	crashfile_on_sync(t.c, NULL, NULL);
	look(&t, 0, true);
	assert_true(t.image_n > 2 * SEEDS);
	img_drop(src);
	crashfile_free(t.c);
}

static void copy_plain(void **state)
{
	copy(*state, 0, 1);
	copy(*state, 0, 3);
}

static void copy_packed(void **state)
{
	copy(*state, IMG_COPY_PACK, 1);
	copy(*state, IMG_COPY_PACK | IMG_COPY_UNORDERED, 3);
}

int main(void)
{
	static const char *const options[] = {"cluster_size=512",
	    "cluster_size=4k",
	    "cluster_size=16k,extended_l2=on,refcount_bits=2"};
	struct group g = {0};

	for (size_t i = 0; i < ARRAY_N(options); i++) {
		group_add(&g, options[i], copy_plain, options[i]);
		group_add(&g, options[i], copy_packed, options[i]);
	}
	return group_run(&g, "copy");
}
