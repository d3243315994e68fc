/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Creating and resizing qcow2 images on storage that loses power or fails: a
 * crash leaves the old or the new size, no corruption, and what was flushed.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "check.h"
#include "crashfile.h"
#include "faultfile.h"
#include "formats/core/units.h"
#include "formats/image.h"

#define SEEDS 6u

struct scene {
	const char *options;
	uint64_t old, new;
	enum img_prealloc how;
};

/* Clusters of 512 bytes: tables grow, move and go often. */
static const struct scene scenes[] = {
    {"cluster_size=512", 256 * KiB, 3 * MiB, IMG_PREALLOC_OFF},
    {"cluster_size=512", 256 * KiB, 600 * KiB, IMG_PREALLOC_METADATA},
    {"cluster_size=512", 3 * MiB, 100 * KiB, IMG_PREALLOC_OFF},
    {"cluster_size=512,refcount_bits=64", 600 * KiB, 4096, IMG_PREALLOC_OFF},
    {"cluster_size=512,compat=v2", 300 * KiB, 1000 * 512, IMG_PREALLOC_OFF},
    {"cluster_size=512,compat=v2", 3 * MiB, 99 * 512, IMG_PREALLOC_OFF},
    {"cluster_size=16k,extended_l2=on", 700 * 512, 9 * MiB, IMG_PREALLOC_FULL},
    {"cluster_size=16k,extended_l2=on", 9 * MiB, 700 * 512, IMG_PREALLOC_OFF},
};

static struct image *open_on(struct hostfile *f, unsigned flags, struct err *e)
{
	const struct img_open how = {
	    .format = "qcow2", .flags = flags, .gate = IMG_GATE_DENY};

	return img_open_host(f, &how, e);
}

static int create_on(struct hostfile *f, const struct scene *s, struct err *e)
{
	CLEANUP(options) struct options *o = options_new(e);
	char size[32];

	snprintf(size, sizeof size, "%llu", (unsigned long long)s->old);
	if (!o || options_parse(o, s->options, NULL, e) ||
	    options_set(o, "size", size, e))
		return -1;
	return img_create_host(f, "qcow2", o, e);
}

/* Sector n of the disk holds n everywhere, in three areas of it. */
static bool is_written(uint64_t sector, uint64_t size)
{
	uint64_t n = size / SECTOR_LEN;

	return sector < 100 || sector >= n - n / 3;
}

static void sector_bytes(uint8_t *p, uint64_t sector)
{
	for (unsigned i = 0; i < SECTOR_LEN; i += 8)
		put_be64(p + i, sector + 1);
}

static int fill(struct image *img, struct err *e)
{
	uint8_t buf[SECTOR_LEN];

	for (uint64_t n = 0; n < img_size(img) / SECTOR_LEN; n++) {
		if (!is_written(n, img_size(img)))
			continue;
		sector_bytes(buf, n);
		if (img_pwrite(img, buf, sizeof buf, n * SECTOR_LEN, 0, e))
			return -1;
	}
	return img_flush(img, e);
}

/* What was there before is there, up to the smaller size; else zeroes. */
static void check_content(struct image *img, const struct scene *s)
{
	uint8_t got[SECTOR_LEN], want[SECTOR_LEN];
	uint64_t keep = min_u64(s->old, s->new);
	struct err e = ERR_INIT;

	for (uint64_t n = 0; n < img_size(img) / SECTOR_LEN; n++) {
		uint64_t off = n * SECTOR_LEN;

		/* Half cut off: either may be found. */
		if (off >= keep && s->new < s->old)
			break;
		memset(want, 0, sizeof want);
		if (off < s->old && is_written(n, s->old))
			sector_bytes(want, n);
		assert_ok(img_pread(img, got, sizeof got, off, &e), &e);
		assert_memory_equal(got, want, sizeof got);
	}
}

static void check_sound(struct hostfile *f)
{
	struct err e = ERR_INIT;
	struct image *img = open_on(host_ref(f), IMG_O_CHECK, &e);
	struct img_check out;

	assert_no_error(&e);
	assert_ok(img_check(img, &out, NULL, NULL, &e), &e);
	assert_int_equal(out.corruptions, 0);
	assert_int_equal(out.check_errors, 0);
	img_drop(img);
}

/* ---- crashes ------------------------------------------------------------- */

static void look_at_crash(void *arg, struct crashfile *c, unsigned barrier)
{
	const struct scene *s = arg;

	for (uint64_t seed = 0; seed < SEEDS; seed++) {
		struct err e = ERR_INIT;
		struct hostfile *f =
		    crashfile_image(c, seed < 2 ? seed : seed + barrier, &e);
		struct image *img;

		assert_no_error(&e);
		check_sound(f);
		img = open_on(f, 0, &e);
		assert_no_error(&e);
		assert_true(img_size(img) == s->old || img_size(img) == s->new);
		check_content(img, s);
		img_drop(img);
	}
}

static void crash_in(const struct scene *s)
{
	struct err e = ERR_INIT;
	struct crashfile *c = crashfile_new(&e);
	struct hostfile *f = crashfile_host(c);
	struct image *img;

	assert_ok(create_on(f, s, &e), &e);
	img = open_on(host_ref(f), IMG_O_RDWR, &e);
	assert_no_error(&e);
	assert_ok(fill(img, &e), &e);
	crashfile_on_sync(c, look_at_crash, (void *)s);
	assert_ok(img_resize(img, s->new, s->how, &e), &e);
	assert_true(crashfile_barriers(c) > 2);
	assert_int_equal(img_size(img), s->new);
	check_content(img, s);
	assert_ok(img_close(img, &e), &e);
	crashfile_on_sync(c, NULL, NULL);
	check_sound(f);
	host_put(f);
	crashfile_free(c);
}

static void crashes(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_N(scenes); i++)
		crash_in(&scenes[i]);
}

/* ---- failures ------------------------------------------------------------ */

/* The nth change of the storage fails during the resize; false: none did. */
static bool fail_in(const struct scene *s, uint64_t nth)
{
	struct err e = ERR_INIT;
	struct hostfile *memory = host_open_memory("disk", 0, &e);
	struct hostfile *f = faultfile_new(host_ref(memory), &e);
	struct image *img;
	bool hit;

	assert_no_error(&e);
	assert_ok(create_on(f, s, &e), &e);
	img = open_on(host_ref(f), IMG_O_RDWR, &e);
	assert_no_error(&e);
	assert_ok(fill(img, &e), &e);
	faultfile_fail(f, FAULT_CHANGES, nth, ENOSPC, false);
	if (img_resize(img, s->new, s->how, &e)) {
		assert_true(err_is_set(&e));
		/* Only giving space back comes after the change of the size. */
		assert_true(img_size(img) == s->old ||
			    (s->new < s->old &&img_size(img) == s->new));
	}
	hit = faultfile_hit(f);
	assert_true(hit || !err_is_set(&e));
	err_clear(&e);
	check_content(img, s);
	faultfile_fail(f, FAULT_ALL, 0, 0, false);
	img_drop(img);
	host_put(f);
	check_sound(memory);
	img = open_on(memory, 0, &e);
	assert_no_error(&e);
	check_content(img, s);
	img_drop(img);
	return hit;
}

static void failures(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_N(scenes); i++) {
		uint64_t nth = 1;

		while (fail_in(&scenes[i], nth))
			nth += 1 + nth / 10;
		assert_true(nth > 4);
	}
}

/* A failed create says so; what is left opens as nothing or as an image. */
static void create_fails(void **state)
{
	static const struct scene s = {
	    "cluster_size=512,preallocation=metadata", 100 * KiB, 0, 0};

	(void)state;
	for (uint64_t nth = 1, hit = true; hit; nth++) {
		struct err e = ERR_INIT;
		struct hostfile *f =
		    faultfile_new(host_open_memory("disk", 0, &e), &e);
		struct image *img;

		assert_no_error(&e);
		faultfile_fail(f, FAULT_CHANGES, nth, ENOSPC, false);
		hit = create_on(f, &s, &e) != 0;
		assert_true(hit == faultfile_hit(f));
		assert_true(hit == err_is_set(&e));
		err_clear(&e);
		faultfile_fail(f, FAULT_ALL, 0, 0, false);
		img = open_on(host_ref(f), 0, &e);
		if (img)
			check_sound(f);
		assert_true(img || hit);
		img_drop(img);
		host_put(f);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(crashes),
	    cmocka_unit_test(failures),
	    cmocka_unit_test(create_fails),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
