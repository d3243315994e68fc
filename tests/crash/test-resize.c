/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Power fails while an image gets another size, step by step, by far more and
 * less than its tables have room for.  What could be found opens, for reading
 * and for writing; has the old size or the new one; reads as before, but for
 * what is cut off; no check finds more than leaks; and what new data is written
 * to is not in use.
 */
#include <stdlib.h>
#include <unistd.h>

#include "check.h"
#include "crash.h"
#include "crashdisk.h"
#include "effort.h"
#include "formats/core/units.h"
#include "formats/core/zero.h"
#include "formats/image.h"
#include "group.h"
#include "hostio.h"
#include "rng.h"
#include "tmpdir.h"

#define LOOK_LEN (4 * MiB) /* of the disk that is compared; zeroes behind */
#define IMAGES	 EFFORT(6u, 4u) /* at each sync */
#define STEPS	 6u

struct scene {
	const char *name, *format, *options;
	uint64_t size[STEPS];	   /* the first one at the start; 0: no more */
	bool over;		   /* a longer image, which shows through */
	bool noise;		   /* what is new does not read as zeroes */
	unsigned footer_len;	   /* of what is new it may be in the way */
	bool cowd;		   /* of ESX, one file */
	const struct parts *parts; /* several files */
};

static const struct parts sparse_parts = {PARTS_SPARSE, 2, 512 * KiB},
			  flat_parts = {PARTS_FLAT, 2, 512 * KiB},
			  one_flat = {PARTS_ONE_FLAT, 1, MiB},
			  cowd = {PARTS_COWD, 1, MiB};

static const struct scene scenes[] = {
    {"raw", "raw", NULL, {3 * MiB, 5 * MiB + 512, MiB + 1536, 2 * MiB}},
    {"qcow2", "qcow2", "cluster_size=4k",
	{MiB, 3 * MiB + 512, 200 * MiB, MiB + 1536, 3 * MiB}},
    {"qed", "qed", "cluster_size=4k,table_size=1",
	{MiB, 5 * MiB + 512, 900 * MiB, MiB + 1536, 3 * MiB}},
    {"qcow", "qcow", NULL, {MiB, 3 * MiB + 512, 4 * GiB, MiB + 1536, 5 * MiB}},
    {"vdi", "vdi", NULL,
	{2 * MiB, 3 * MiB + 512, 2 * GiB, MiB + 1536, 3 * MiB}},
    {"vdi, static", "vdi", "static=on",
	{2 * MiB, 4 * MiB + 512, MiB + 1536, 3 * MiB}},
    {"vpc", "vpc", "force_size=on",
	{3 * MiB, 5 * MiB + 512, 4 * GiB, MiB + 1536, 5 * MiB}},
    {"vpc, fixed", "vpc", "subformat=fixed,force_size=on",
	{2 * MiB, 3 * MiB + 512, MiB + 1536, 3 * MiB}, .footer_len = 512},
    {"parallels", "parallels", "cluster_size=64k",
	{MiB, 3 * MiB + 512, GiB, MiB + 1536, 3 * MiB}},
    {"vmdk", "vmdk", NULL,
	{3 * MiB, 4 * MiB + 512, 9 * GiB, MiB + 1536, 4 * MiB}},
    {"vmdk, zeroed grains", "vmdk", "zeroed_grain=on",
	{3 * MiB, 40 * MiB, MiB + 1536, 4 * MiB}},
    {"vmdk stream", "vmdk", "subformat=streamOptimized",
	{3 * MiB, 4 * MiB + 512, 9 * GiB}},
    {"vhdx", "vhdx", "block_size=1M",
	{3 * MiB, 5 * MiB + 512, 2 * MiB + 1536, 200 * GiB, MiB + 512}},
    {"vhdx, fixed", "vhdx", "block_size=1M,subformat=fixed",
	{3 * MiB, 5 * MiB + 512, 2 * MiB + 1536, 4 * MiB}},
    {"qcow2 overlay", "qcow2", "cluster_size=4k",
	{MiB, 3 * MiB + 512, MiB + 1536, 2 * MiB}, .over = true},
    {"qed overlay", "qed", "cluster_size=4k",
	{MiB, 3 * MiB + 512, MiB + 1536, 2 * MiB}, .over = true},
    {"qcow overlay", "qcow", NULL, {MiB, 3 * MiB + 512, MiB + 1536, 2 * MiB},
	.over = true},
    {"vpc overlay", "vpc", "force_size=on",
	{MiB, 3 * MiB + 512, MiB + 1536, 2 * MiB}, .over = true},
    {"vhdx overlay", "vhdx", "block_size=1M",
	{MiB, 3 * MiB + 512, MiB + 1536, 2 * MiB}, .over = true},
    {"vmdk overlay", "vmdk", NULL, {MiB, 3 * MiB + 512, MiB + 1536, 2 * MiB},
	.over = true},
    {"vmdk overlay, zeroed grains", "vmdk", "zeroed_grain=on",
	{MiB, 3 * MiB + 512, MiB + 1536, 2 * MiB}, .over = true},
    {"luks", "luks", "iter-time=0,key-secret=" CRASH_KEY,
	{MiB, 3 * MiB + 512, MiB + 1536, 2 * MiB}, .noise = true},
    {"vmdk, ESX", "vmdk", NULL,
	{MiB, 3 * MiB + 512, 5 * GiB, MiB + 1536, 4 * MiB}, .cowd = true},
    {"vmdk, sparse files", "vmdk", NULL,
	{MiB, 3 * MiB + 512, 768 * KiB, MiB + 64 * KiB, 512 * KiB},
	.parts = &sparse_parts},
    {"vmdk, flat files", "vmdk", NULL,
	{MiB, 3 * MiB + 512, 768 * KiB, MiB + 64 * KiB, 512 * KiB},
	.parts = &flat_parts},
    {"vmdk, flat file", "vmdk", NULL, {MiB, 3 * MiB + 512, MiB + 1536, 2 * MiB},
	.parts = &one_flat},
    {"vmdk, ESX file", "vmdk", NULL, {MiB, 3 * MiB + 512, 5 * GiB, MiB + 1536},
	.parts = &cowd},
};

struct world {
	const struct scene *scene;
	struct crashdisk disk;
	struct image *img;
	uint8_t *bytes;	   /* LOOK_LEN: what the disk reads, zeroes behind it */
	uint8_t *base;	   /* LOOK_LEN: what is below, or NULL */
	uint64_t old, new; /* sizes that it may have */
	struct rng rng;
	unsigned image_n;
};

/* ---- what is found ------------------------------------------------------- */

/* Old bytes; behind the smaller size zeroes, too, and of what is cut off what
 * is below. */
static bool is_right(const struct world *w, const uint8_t *buf, uint64_t len)
{
	uint64_t same = min_u64(min_u64(w->old, w->new), len);
	bool below = w->base && w->old > w->new;

	if (memcmp(buf, w->bytes, same))
		return false;
	if (w->scene->noise)
		return true;
	for (uint64_t i = same + w->scene->footer_len; i < len; i++)
		if (buf[i] && buf[i] != w->bytes[i] &&
		    !(below && buf[i] == w->base[i]))
			return false;
	return true;
}

static int read_it(const struct world *w, struct image *img, struct err *e)
{
	uint64_t size = img_size(img), len = min_u64(size, LOOK_LEN);
	CLEANUP_FREE uint8_t *buf = malloc(LOOK_LEN);

	assert_non_null(buf);
	if (size != w->old && size != w->new)
		return err_damaged(
		    e, "the disk has %llu bytes", (unsigned long long)size);
	if (img_pread(img, buf, len, 0, e))
		return -1;
	return is_right(w, buf, len)
		   ? 0
		   : err_damaged(e, "the disk reads otherwise");
}

static int look_at(
    const struct world *w, struct hostfile *f, unsigned flags, struct err *e)
{
	struct image *img = crash_open(f, w->scene->format, flags, e);
	int rc;

	if (!img)
		return -1;
	rc = read_it(w, img, e);
	return img_close(img, e) ? -1 : rc;
}

/* Into what has no data: where that goes nothing else lies. */
static int write_behind(
    const struct world *w, struct hostfile *f, struct err *e)
{
	struct image *img = crash_open(f, w->scene->format, IMG_O_RDWR, e);
	static const uint8_t piece[3 * SECTOR_LEN] = {1, 2, 3};
	uint64_t from = min_u64(w->old, w->new);
	int rc = 0;

	if (!img)
		return -1;
	if (img_size(img) >= from + sizeof piece)
		rc = img_pwrite(img, piece, sizeof piece,
		    img_size(img) - sizeof piece, 0, e);
	if (!rc && from >= LOOK_LEN)
		rc = read_it(w, img, e);
	return img_close(img, e) ? -1 : rc;
}

/* What is new reads as zeroes, though it may have been there before. */
static int grow_again(const struct world *w, struct hostfile *f, struct err *e)
{
	struct image *img = crash_open(f, w->scene->format, IMG_O_RDWR, e);
	uint64_t size = img ? img_size(img) : 0;
	CLEANUP_FREE uint8_t *buf = malloc(MiB);
	int rc = 0;

	assert_non_null(buf);
	if (!img)
		return -1;
	if (size < LOOK_LEN)
		rc = img_resize(img, size + MiB, IMG_PREALLOC_OFF, e);
	if (!rc && size < LOOK_LEN)
		rc = img_pread(img, buf, MiB, size, e);
	if (!rc && size < LOOK_LEN && !w->scene->noise && !is_zero(buf, MiB))
		rc = err_damaged(e, "what is new holds data");
	/* Files that the crash left are not overwritten. */
	if (rc && w->scene->parts && e->errnum == EEXIST) {
		err_clear(e);
		rc = 0;
	}
	return img_close(img, e) ? -1 : rc;
}

static int check_one(const struct world *w, struct hostfile *f, struct err *e)
{
	if (look_at(w, f, 0, e))
		return -1;
	crash_check(f, w->scene->format);
	if (look_at(w, f, IMG_O_RDWR, e) || look_at(w, f, 0, e) ||
	    write_behind(w, f, e) || grow_again(w, f, e))
		return -1;
	crash_check(f, w->scene->format);
	if (w->scene->cowd)
		parts_check_cowd(f);
	return 0;
}

static void look(void *arg, uint64_t seed)
{
	struct world *w = arg;
	struct err e = ERR_INIT;
	struct hostfile *f = crashdisk_image(&w->disk, seed);

	if (check_one(w, f, &e))
		fail_msg("%s, %llu to %llu, crash seed %llu: %s",
		    w->scene->name, (unsigned long long)w->old,
		    (unsigned long long)w->new, (unsigned long long)seed,
		    e.msg);
	host_put(f);
	w->image_n++;
}

/* ---- what is done -------------------------------------------------------- */

static void write_some(struct world *w)
{
	uint64_t size = min_u64(img_size(w->img), LOOK_LEN);
	struct err e = ERR_INIT;
	uint8_t piece[9000];

	for (unsigned i = 0; i < 12; i++) {
		uint64_t off = rng_below(&w->rng, size - sizeof piece);

		rng_fill(&w->rng, piece, sizeof piece);
		assert_ok(
		    img_pwrite(w->img, piece, sizeof piece, off, 0, &e), &e);
		memcpy(w->bytes + off, piece, sizeof piece);
	}
	assert_ok(img_flush(w->img, &e), &e);
}

static void take_noise(struct world *w)
{
	struct err e = ERR_INIT;

	assert_ok(img_pread(w->img, w->bytes,
		      min_u64(img_size(w->img), LOOK_LEN), 0, &e),
	    &e);
}

static void resize(struct world *w, uint64_t size)
{
	struct crash_watch watch = {IMAGES, look, w};
	struct err e = ERR_INIT;

	w->old = img_size(w->img);
	w->new = size;
	crashdisk_watch(&w->disk, &watch);
	assert_ok(img_resize(w->img, size, IMG_PREALLOC_OFF, &e), &e);
	assert_ok(img_flush(w->img, &e), &e);
	w->old = size;
	if (size < LOOK_LEN)
		memset(w->bytes + size, 0, LOOK_LEN - size);
	if (w->scene->noise)
		take_noise(w);
	look(w, 0);
	crashdisk_watch_end(&w->disk);
}

/* The disk shows the start of it. */
static void make_base(struct world *w)
{
	const struct scene *s = w->scene;
	const struct img_open how = {.format = s->format, .flags = IMG_O_RDWR};
	struct err e = ERR_INIT;
	CLEANUP(options) struct options *o = options_new(&e);
	struct image *img;

	if (s->options)
		assert_ok(options_parse(o, s->options, NULL, &e), &e);
	assert_ok(options_set(o, "size", "4M", &e), &e);
	unlink("base");
	assert_ok(img_create("base", s->format, o, 0, &e), &e);
	img = img_open("base", &how, &e);
	assert_no_error(&e);
	w->base = malloc(LOOK_LEN);
	assert_non_null(w->base);
	rng_fill(&w->rng, w->base, LOOK_LEN);
	assert_ok(img_pwrite(img, w->base, LOOK_LEN, 0, 0, &e), &e);
	assert_ok(img_close(img, &e), &e);
	memcpy(w->bytes, w->base, s->size[0]);
}

static void make(struct world *w)
{
	const struct scene *s = w->scene;
	struct err e = ERR_INIT;

	crashdisk_new(&w->disk, s->parts);
	if (s->over)
		make_base(w);
	if (s->cowd) {
		parts_make_cowd("cowd", s->size[0]);
		assert_ok(hostio_load(w->disk.host, "cowd", &e), &e);
		assert_ok(host_sync(w->disk.host, &e), &e);
	} else if (!s->parts) {
		crash_create(w->disk.c, s->format, s->size[0], s->options,
		    s->over ? "base" : NULL);
	}
}

static void sizes(void **state)
{
	struct world w = {.scene = *state, .rng = {7}};
	struct err e = ERR_INIT;

	w.bytes = calloc(1, LOOK_LEN);
	make(&w);
	w.img = crash_must_open(
	    w.disk.host, w.scene->format, IMG_O_RDWR | IMG_O_DISCARD);
	if (w.scene->noise)
		take_noise(&w);
	write_some(&w);
	for (unsigned i = 1; i < STEPS && w.scene->size[i]; i++) {
		resize(&w, w.scene->size[i]);
		write_some(&w);
	}
	assert_ok(img_close(w.img, &e), &e);
	print_message("%u images\n", w.image_n);
	assert_true(w.image_n > 2 * IMAGES);
	crashdisk_free(&w.disk);
	free(w.bytes);
	free(w.base);
}

int main(void)
{
	struct group g = {0};

	tmpdir_enter();
	for (size_t i = 0; i < ARRAY_N(scenes); i++)
		group_add(&g, scenes[i].name, sizes, &scenes[i]);
	return group_run(&g, "resize");
}
