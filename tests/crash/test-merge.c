/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Power fails while the top of a chain is merged into its base.  What the disk
 * reads does not change by that, so it has to be there at any moment, from
 * whatever the files of the two are found to be, opened as anybody opens them:
 * the top still knows the base.
 */
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "check.h"
#include "crash.h"
#include "crashdir.h"
#include "effort.h"
#include "formats/core/units.h"
#include "formats/driver.h"
#include "group.h"
#include "hostio.h"
#include "parts.h"
#include "rng.h"
#include "tmpdir.h"

#define SIZE   (600 * KiB)
#define SEEDS  EFFORT(8u, 4u)
#define LAYERS 2u /* 0: the base */

static const struct parts sparse = {PARTS_SPARSE, 2, 320 * KiB},
			  cowd = {PARTS_COWD, 3, SIZE / 3};

static const struct scene {
	const char *name, *format;
	const char *base, *top; /* options */
	uint64_t seed;
	uint64_t base_len; /* guest bytes; 0: as many as the top */
	bool snapshot;
	const struct parts *parts; /* VMDK layers of several files */
} scenes[] = {
    {"512", "qcow2", "cluster_size=512", "cluster_size=512", 1},
    {"512, snapshot", "qcow2", "cluster_size=512,refcount_bits=64",
	"cluster_size=512,refcount_bits=64", 2, .snapshot = true},
    {"4k, snapshot", "qcow2", "cluster_size=4k", "cluster_size=4k", 3,
	.snapshot = true},
    {"4k, version 2", "qcow2", "cluster_size=4k,compat=0.10",
	"cluster_size=4k,compat=0.10", 4},
    {"64k", "qcow2", "cluster_size=64k", "cluster_size=64k", 5},
    {"64k, short base", "qcow2", "cluster_size=64k", "cluster_size=4k", 7,
	.base_len = 200 * KiB},
    {"extended, snapshot", "qcow2", "cluster_size=16k,extended_l2=on",
	"cluster_size=16k,extended_l2=on", 6, .snapshot = true},
    {"qed", "qed", "cluster_size=4k", "cluster_size=4k,table_size=1", 8},
    {"qed, short base", "qed", "cluster_size=64k", "cluster_size=4k", 9,
	.base_len = 200 * KiB},
    {"qcow", "qcow", NULL, NULL, 10},
    {"qcow, short base", "qcow", NULL, NULL, 11, .base_len = 200 * KiB},
    {"vpc", "vpc", "force_size=on", "force_size=on", 12},
    {"vpc, short base", "vpc", "force_size=on", "force_size=on", 13,
	.base_len = 200 * KiB},
    {"vhdx", "vhdx", "block_size=1M", "block_size=1M", 14},
    {"vhdx, short base", "vhdx", "block_size=1M", "block_size=1M", 15,
	.base_len = 200 * KiB},
    {"vhdx, fixed base", "vhdx", "block_size=1M,subformat=fixed",
	"block_size=1M", 16},
    {"vmdk", "vmdk", NULL, NULL, 17},
    {"vmdk, zeroed grains", "vmdk", "zeroed_grain=on", "zeroed_grain=on", 18},
    {"vmdk, short base", "vmdk", NULL, NULL, 19, .base_len = 200 * KiB},
    {"vmdk, several files", "vmdk", NULL, NULL, 20, .parts = &sparse},
    {"vmdk, ESX files", "vmdk", NULL, NULL, 21, .parts = &cowd},
    {"vdi", "vdi", NULL, NULL, 22},
};

struct trial {
	const struct scene *scene;
	struct crashfile *file[LAYERS]; /* or a folder: see crashdir.h */
	uint8_t want[SIZE];
	unsigned images;
};

static struct hostfile *layer(const struct trial *t, unsigned i)
{
	struct err e = ERR_INIT;
	struct hostfile *f;

	if (!t->scene->parts)
		return crashfile_host(t->file[i]);
	f = host_open_file(
	    i ? "live/top.vmdk" : "live/base.vmdk", HOST_RDWR, &e);
	assert_no_error(&e);
	return f;
}

/* The chain on the files that lose power. */
static struct image *open_chain(struct trial *t, unsigned flags)
{
	struct image *img[LAYERS];

	for (unsigned i = 0; i < LAYERS; i++) {
		struct hostfile *f = layer(t, i);

		img[i] = crash_must_open(
		    f, t->scene->format, flags | IMG_O_NO_BACKING);
		host_put(f);
	}
	img[1]->backing = img[0];
	return img[1];
}

/* What is left of the layers, the base where the top finds it. */
static void take_images(
    struct trial *t, struct hostfile *f[LAYERS], uint64_t seed)
{
	struct err e = ERR_INIT;

	if (t->scene->parts) {
		crashdir_image("crash", seed);
		f[0] = host_open_file("crash/base.vmdk", HOST_RDWR, &e);
		f[1] = f[0] ? host_open_file("crash/top.vmdk", HOST_RDWR, &e)
			    : NULL;
		assert_no_error(&e);
		return;
	}
	for (unsigned i = 0; i < LAYERS; i++) {
		f[i] = crashfile_image(
		    t->file[i], seed < 2 ? seed : seed * LAYERS + i, &e);
		assert_no_error(&e);
	}
	assert_ok(hostio_save(f[0], "base", &e), &e);
}

/* As anybody does: a VDI image has no name of its base. */
static struct image *open_top(
    const struct trial *t, struct hostfile *f, unsigned flags)
{
	struct err e = ERR_INIT;
	CLEANUP(options) struct options *o = options_new(&e);
	const struct img_open how = {
	    .format = "vdi", .flags = flags, .options = o};
	struct image *img;

	if (strcmp(t->scene->format, "vdi"))
		return crash_must_open(f, t->scene->format, flags);
	assert_ok(options_set(o, "backing.driver", "vdi", &e), &e);
	assert_ok(options_set(o, "backing.file.filename", "base", &e), &e);
	img = img_open_host(host_ref(f), &how, &e);
	assert_no_error(&e);
	return img;
}

static void look(void *arg, uint64_t seed)
{
	struct trial *t = arg;
	struct err e = ERR_INIT;
	struct hostfile *f[LAYERS];
	CLEANUP_FREE uint8_t *got = malloc(SIZE);
	struct image *img;

	take_images(t, f, seed);
	for (unsigned i = 0; i < LAYERS; i++)
		crash_check(f[i], t->scene->format);
	host_put(f[0]); /* which has locked it */
	img = open_top(t, f[1], 0);
	assert_ok(img_pread(img, got, SIZE, 0, &e), &e);
	assert_memory_equal(got, t->want, SIZE);
	assert_ok(img_close(img, &e), &e);
	img = open_top(t, f[1], IMG_O_RDWR);
	assert_ok(img_pwrite(img, got, 70000, 1000, IMG_FUA, &e), &e);
	assert_ok(img_pread(img, got, SIZE, 0, &e), &e);
	assert_ok(img_close(img, &e), &e);
	t->images++;
	host_put(f[1]);
}

/* Random bytes and zeroes in one layer. */
static void scribble(const struct trial *t, struct image *img, struct rng *r)
{
	CLEANUP_FREE uint8_t *buf = malloc(SIZE);
	struct err e = ERR_INIT;

	for (unsigned i = 0; i < 12; i++) {
		uint64_t size = img_size(img), off = rng_below(r, size);
		uint64_t len = 1 + rng_below(r, min_u64(size - off, 60000));

		rng_fill(r, buf, len);
		if (i % 4)
			assert_ok(img_pwrite(img, buf, len, off, 0, &e), &e);
		else
			assert_ok(img_zero(img, len, off, 0, &e), &e);
		if (t->scene->snapshot && i == 6)
			assert_ok(img_snapshot_create(img, "s", &e), &e);
	}
}

/* Of the top, which is opened with the base below; want[] gets what it has. */
static void fill_top(struct trial *t, struct rng *r)
{
	struct image *img = open_chain(t, IMG_O_RDWR);
	struct err e = ERR_INIT;

	scribble(t, img, r);
	assert_ok(img_pread(img, t->want, SIZE, 0, &e), &e);
	assert_ok(img_close(img, &e), &e);
}

static void merge(struct trial *t)
{
	struct crash_watch watch = {SEEDS, look, t};
	struct err e = ERR_INIT;
	struct img_merge job = {
	    .top = open_chain(t, IMG_O_RDWR | IMG_O_DISCARD)};

	job.base = img_backing(job.top);
	if (t->scene->parts)
		crashdir_begin("live", &watch);
	for (unsigned i = 0; !t->scene->parts && i < LAYERS; i++)
		crash_watch(t->file[i], &watch);
	assert_ok(img_merge(&job, &e), &e);
	assert_ok(img_close(job.top, &e), &e);
	for (unsigned i = 0; !t->scene->parts && i < LAYERS; i++)
		crashfile_on_sync(t->file[i], NULL, NULL);
	/* And when all is done. */
	look(t, 0);
	if (t->scene->parts)
		crashdir_end();
}

static void fill_base(struct trial *t, struct rng *r)
{
	struct hostfile *f = layer(t, 0);
	struct image *img = crash_must_open(f, t->scene->format, IMG_O_RDWR);
	struct err e = ERR_INIT;

	scribble(t, img, r);
	assert_ok(img_close(img, &e), &e);
	if (!t->scene->parts)
		assert_ok(hostio_save(f, "base", &e), &e);
	host_put(f);
}

static void make_parts(struct trial *t, struct rng *r)
{
	struct img_rebase job = {.name = "base.vmdk", .format = "vmdk"};
	struct err e = ERR_INIT;
	struct hostfile *f;

	assert_int_equal(mkdir("live", 0777), 0);
	parts_make("live", "base", t->scene->parts);
	parts_make("live", "top", t->scene->parts);
	fill_base(t, r);
	f = layer(t, 1);
	job.img = crash_must_open(f, "vmdk", IMG_O_RDWR);
	assert_ok(img_rebase(&job, &e), &e);
	assert_ok(img_close(job.img, &e), &e);
	host_put(f);
}

/* A VDI image becomes a differencing one. */
static void name_base(const struct trial *t)
{
	struct hostfile *base = layer(t, 0), *top = layer(t, 1);
	struct err e = ERR_INIT;
	uint8_t id[32], type[4];

	put_le32(type, 4);
	assert_ok(host_pread(base, id, sizeof id, 392, &e), &e);
	assert_ok(host_pwrite(top, id, sizeof id, 424, &e), &e);
	assert_ok(host_pwrite(top, type, sizeof type, 76, &e), &e);
	assert_ok(host_sync(top, &e), &e);
	host_put(base);
	host_put(top);
}

static void make_file(struct trial *t, unsigned i)
{
	const struct scene *s = t->scene;
	bool vdi = !strcmp(s->format, "vdi");
	uint64_t len = i || !s->base_len ? SIZE : s->base_len;
	struct err e = ERR_INIT;
	struct hostfile *f;

	t->file[i] = crashfile_new(&e);
	assert_no_error(&e);
	crash_create(t->file[i], s->format, len, i ? s->top : s->base,
	    i && !vdi ? "base" : NULL);
	f = layer(t, i);
	if (vdi)
		crash_small_blocks(f, "vdi", SIZE);
	host_put(f);
}

/* The top is created over what the base is then. */
static void make(struct trial *t, struct rng *r)
{
	if (t->scene->parts) {
		make_parts(t, r);
		return;
	}
	make_file(t, 0);
	fill_base(t, r);
	make_file(t, 1);
	if (!strcmp(t->scene->format, "vdi"))
		name_base(t);
}

static void crashes(void **state)
{
	static struct trial t;
	struct rng r;

	t = (struct trial){.scene = *state};
	r.state = t.scene->seed;
	make(&t, &r);
	/* The second time there is what is left of the first. */
	for (unsigned i = 0; i < 2; i++) {
		fill_top(&t, &r);
		merge(&t);
		if (t.scene->snapshot)
			break;
	}
	print_message("%u images\n", t.images);
	assert_true(t.images > 4 * SEEDS);
	for (unsigned i = 0; !t.scene->parts && i < LAYERS; i++)
		crashfile_free(t.file[i]);
	if (t.scene->parts)
		assert_int_equal(system("rm -r live"), 0);
	else
		unlink("base");
}

int main(void)
{
	struct group g = {0};

	tmpdir_enter();
	for (size_t i = 0; i < ARRAY_N(scenes); i++)
		group_add(&g, scenes[i].name, crashes, &scenes[i]);
	return group_run(&g, "merge");
}
