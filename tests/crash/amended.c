/* SPDX-License-Identifier: BSD-3-Clause */
/* See amended.h. */
#include "amended.h"

#include <stdio.h>
#include <stdlib.h>

#include "check.h"
#include "crash.h"
#include "formats/core/units.h"
#include "hostio.h"
#include "peer.h"
#include "qcow2raw.h"
#include "rng.h"

#define WRITE_EACH 3u /* images */

const struct amended_scene amended_scenes[] = {
    {"cluster_size=512", 256 * KiB, false, true, false,
	{"refcount_bits=64", "refcount_bits=2,lazy_refcounts=on",
	    "refcount_bits=16,compat=0.10", "compat=1.1,refcount_bits=32",
	    "size=300k", "size=100k"}},
    {"cluster_size=512,refcount_bits=1", 300 * KiB, true, false, false,
	{"refcount_bits=64", "size=400k,refcount_bits=8",
	    "compat=0.10,refcount_bits=16", "compat=1.1,refcount_bits=1"}},
    {"cluster_size=4k,compat=0.10", 500 * KiB, true, true, false,
	{"compat=1.1", "refcount_bits=4,lazy_refcounts=on",
	    "lazy_refcounts=off", "compat=0.10,refcount_bits=16",
	    "compat=1.1,size=300k"}},
    {"cluster_size=4k", 700 * KiB, true, true, false,
	{"compat=0.10", "compat=1.1,refcount_bits=64"}},
    {"cluster_size=64k,refcount_bits=32", 1 * MiB, false, true, true,
	{"refcount_bits=2", "refcount_bits=64,lazy_refcounts=on",
	    "size=1200k"}},
    {"cluster_size=16k,extended_l2=on", 400 * KiB, true, true, true,
	{"refcount_bits=2", "size=200k"}},
};
const size_t amended_scene_n = ARRAY_N(amended_scenes);

struct image *amended_open(struct hostfile *f, struct err *e)
{
	const struct img_open how = {.format = "qcow2", .flags = IMG_O_RDWR};

	return img_open_host(host_ref(f), &how, e);
}

/* ---- the image ----------------------------------------------------------- */

static void scribble(struct image *img, struct rng *r, struct holding *h)
{
	uint64_t size = h->disk.size;
	struct err e = ERR_INIT;

	for (unsigned i = 0; i < 12; i++) {
		uint64_t off = rng_below(r, size / SECTOR_LEN) * SECTOR_LEN;
		uint64_t len = 1 + rng_below(r, min_u64(size - off, 90000));
		uint8_t *at = h->disk.bytes + off;

		if (i % 2) {
			memset(at, 0, len);
			assert_ok(img_zero(img, len, off,
				      i % 4 > 1 ? IMG_MAY_TRIM : 0, &e),
			    &e);
			continue;
		}
		rng_fill(r, at, len);
		assert_ok(img_pwrite(img, at, len, off, 0, &e), &e);
	}
}

void amended_make_base(void)
{
	const struct img_open how = {.format = "qcow2", .flags = IMG_O_RDWR};
	struct err e = ERR_INIT;
	CLEANUP(options) struct options *o = options_new(&e);
	struct rng r = {.state = 3};
	CLEANUP_FREE uint8_t *buf = malloc(HOLDING_LEN);
	struct image *img;
	char text[24];

	/* An overlay may grow over what is here. */
	snprintf(text, sizeof text, "%u", HOLDING_LEN);
	assert_ok(options_set(o, "size", text, &e), &e);
	assert_ok(img_create("base", "qcow2", o, 0, &e), &e);
	img = img_open("base", &how, &e);
	assert_no_error(&e);
	rng_fill(&r, buf, HOLDING_LEN);
	assert_ok(img_pwrite(img, buf, HOLDING_LEN, 0, 0, &e), &e);
	assert_ok(img_close(img, &e), &e);
}

void amended_start(struct amended *a, struct hostfile *f)
{
	struct rng r = {.state = 7};
	struct err e = ERR_INIT;
	struct image *img;

	img = amended_open(f, &e);
	assert_no_error(&e);
	holding_init(&a->old, a->scene->size);
	assert_ok(img_pread(img, a->old.disk.bytes, a->scene->size, 0, &e), &e);
	scribble(img, &r, &a->old);
	if (a->scene->snapshot) {
		assert_ok(img_snapshot_create(img, "one", &e), &e);
		holding_snapshot(&a->old, "one");
		scribble(img, &r, &a->old);
	}
	if (a->scene->bitmap) {
		assert_ok(img_bitmap_add(img, "map", 4096, true, &e), &e);
		scribble(img, &r, &a->old);
	}
	assert_ok(img_close(img, &e), &e);
	a->new = (struct holding){0};
	holding_copy(&a->new, &a->old);
}

void amended_end(struct amended *a)
{
	holding_free(&a->old);
	holding_free(&a->new);
}

/* ---- steps --------------------------------------------------------------- */

static struct amended_head head_of(struct hostfile *f)
{
	struct amended_head h = {.version = qcow2raw_get64(f, 0) & UINT32_MAX,
	    .size = qcow2raw_get64(f, 24)};

	if (h.version < 3)
		return h;
	h.features = qcow2raw_get64(f, 80);
	h.order = qcow2raw_get64(f, 96) >> 32;
	return h;
}

static uint64_t size_after(const char *step, uint64_t size)
{
	struct err e = ERR_INIT;
	CLEANUP(options) struct options *o = options_new(&e);

	assert_ok(options_parse(o, step, NULL, &e), &e);
	assert_ok(options_size(o, "size", &size, &e), &e);
	return size;
}

void amended_begin(struct amended *a, const char *step, struct hostfile *f)
{
	uint64_t size = size_after(step, a->old.disk.size);

	a->old_head = head_of(f);
	a->image_n = a->old_n = 0;
	if (size != a->new.disk.size)
		holding_resize(&a->new, size);
}

void amended_done(struct amended *a)
{
	holding_copy(&a->old, &a->new);
}

int amended_step(struct image *img, const char *step, struct err *e)
{
	struct err ignored = ERR_INIT;
	CLEANUP(options) struct options *o = options_new(&ignored);

	assert_ok(options_parse(o, step, NULL, &ignored), &ignored);
	return img_amend(img, o, e);
}

/* ---- judging ------------------------------------------------------------- */

static void check_peer(struct hostfile *f)
{
	struct err e = ERR_INIT;
	char out[2000];
	int rc;

	assert_ok(hostio_save(f, "found", &e), &e);
	rc = peer_check("found", out, sizeof out);
	if (rc && rc != 3)
		fail_msg("qemu-img check: %d: %s", rc, out);
}

/* No write was lost on the bitmap, unless it says so. */
static void check_bitmap(const struct amended *a, struct hostfile *f)
{
	struct err e = ERR_INIT;
	struct image *img = amended_open(f, &e);
	struct img_bitmap *list;
	struct img_bitmap_extent x;
	size_t n;

	assert_no_error(&e);
	assert_ok(img_bitmaps(img, &list, &n, &e), &e);
	assert_int_equal(n, a->scene->bitmap);
	if (n && !list[0].inconsistent) {
		assert_ok(
		    img_bitmap_map(img, "map", 0, img_size(img), &x, &e), &e);
		assert_true(x.dirty || x.len < img_size(img));
	}
	/* A resize marks it. */
	if (n && list[0].inconsistent)
		assert_true(a->old.disk.size != a->new.disk.size);
	img_bitmaps_free(list, n);
	assert_ok(img_close(img, &e), &e);
}

/* Nothing that is in use is handed out again. */
static void write_on(const struct amended *a, const struct holding *from,
    uint64_t upto, struct hostfile *f)
{
	struct rng r = {.state = a->image_n};
	struct holding h = {0};
	struct err e = ERR_INIT;
	struct image *img = amended_open(f, &e);
	const char *why;

	assert_no_error(&e);
	holding_copy(&h, from);
	scribble(img, &r, &h);
	assert_ok(img_close(img, &e), &e);
	crash_check(f, "qcow2");
	why = holding_differs(&h, NULL, upto, f);
	if (why)
		fail_msg("after writes: %s", why);
	holding_free(&h);
}

void amended_judge(struct amended *a, struct hostfile *f)
{
	struct amended_head head = head_of(f);
	const struct holding *found = &a->old;
	/* What a smaller disk does not have may be gone before. */
	uint64_t upto = min_u64(a->old.disk.size, a->new.disk.size);
	const char *why;

	crash_check(f, "qcow2");
	if (a->image_n++ % a->peer_each == 0)
		check_peer(f);
	a->old_n += !memcmp(&head, &a->old_head, sizeof head);
	why = holding_differs(found, NULL, upto, f);
	if (why) {
		found = &a->new;
		upto = UINT64_MAX;
		if (holding_differs(found, NULL, upto, f))
			fail_msg("%s", why);
	}
	check_bitmap(a, f);
	if (a->image_n % WRITE_EACH == 0)
		write_on(a, found, upto, f);
	host_put(f);
}
