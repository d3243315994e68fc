/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Power fails while an image gets another backing file: whichever of the two
 * its header names then, the disk reads as before.
 */
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "check.h"
#include "crash.h"
#include "effort.h"
#include "formats/core/units.h"
#include "formats/image.h"
#include "group.h"
#include "rng.h"
#include "tmpdir.h"

#define SIZE  (400 * KiB)
#define SEEDS EFFORT(12u, 6u) /* at each sync */

static const struct scene {
	const char *name, *format, *options;
	size_t room; /* for the longest name */
} scenes[] = {
    {"64k", "qcow2", "cluster_size=64k", 1023},
    {"64k, extended", "qcow2", "cluster_size=64k,extended_l2=on", 1023},
    {"4k", "qcow2", "cluster_size=4k", 1023},
    {"4k, version 2", "qcow2", "cluster_size=4k,compat=0.10", 900},
    {"512", "qcow2", "cluster_size=512", 300},
    {"1k", "qcow2", "cluster_size=1k", 700},
    {"qed", "qed", "cluster_size=4k,table_size=1", 1023},
    {"qcow", "qcow", NULL, 1023},
    {"vpc", "vpc", "force_size=on", 200},
    {"vhdx", "vhdx", "block_size=1M", 1000},
    {"vmdk", "vmdk", "zeroed_grain=on", 1000},
    {"vmdk without zeroes", "vmdk", NULL, 1000},
    {"vmdk stream", "vmdk", "subformat=streamOptimized", 1000},
};

struct trial {
	const struct scene *scene;
	struct crashfile *file;
	uint8_t want[SIZE];
	unsigned images, renamed; /* looked at; of them with the new name */
	const char *name;	  /* the new one; NULL: none */
};

static bool is_renamed(const struct trial *t, struct image *img)
{
	struct err e = ERR_INIT;
	struct img_info info;
	bool yes;

	assert_ok(img_info(img, &info, &e), &e);
	yes = t->name ? info.backing && strcmp(info.backing, "old")
		      : !info.backing;
	if (yes && t->name)
		assert_string_equal(info.backing, t->name);
	else if (info.backing)
		assert_string_equal(info.backing, "old");
	img_info_clear(&info);
	return yes;
}

static void look(void *arg, uint64_t seed)
{
	struct trial *t = arg;
	const char *format = t->scene->format;
	struct err e = ERR_INIT;
	CLEANUP_FREE uint8_t *got = malloc(SIZE);
	struct hostfile *f = crashfile_image(t->file, seed, &e);
	struct image *img;

	assert_no_error(&e);
	crash_check(f, format);
	img = crash_must_open(f, format, IMG_O_RDWR);
	t->images++;
	t->renamed += is_renamed(t, img);
	assert_ok(img_pread(img, got, SIZE, 0, &e), &e);
	assert_memory_equal(got, t->want, SIZE);
	assert_ok(img_pwrite(img, got, 70000, 1000, 0, &e), &e);
	assert_ok(img_close(img, &e), &e);
	crash_check(f, format);
	host_put(f);
}

/* ---- images -------------------------------------------------------------- */

static void scribble(struct image *img, uint64_t seed)
{
	struct rng r = {.state = seed};
	CLEANUP_FREE uint8_t *buf = malloc(SIZE);
	struct err e = ERR_INIT;

	for (unsigned i = 0; i < 8; i++) {
		uint64_t off = rng_below(&r, SIZE);
		uint64_t len = 1 + rng_below(&r, min_u64(SIZE - off, 60000));

		rng_fill(&r, buf, len);
		if (i % 3)
			assert_ok(img_pwrite(img, buf, len, off, 0, &e), &e);
		else
			assert_ok(img_zero(img, len, off, 0, &e), &e);
	}
}

static void make_base(const char *name, const struct scene *s, uint64_t seed)
{
	struct err e = ERR_INIT;
	CLEANUP(options) struct options *o = options_new(&e);
	const struct img_open how = {.format = s->format, .flags = IMG_O_RDWR};
	struct image *img;

	if (s->options)
		assert_ok(options_parse(o, s->options, NULL, &e), &e);
	assert_ok(options_set(o, "size", "400k", &e), &e);
	unlink(name);
	assert_ok(img_create(name, s->format, o, 0, &e), &e);
	img = img_open(name, &how, &e);
	assert_no_error(&e);
	scribble(img, seed);
	assert_ok(img_close(img, &e), &e);
}

/* Another name of the file "new", `len` bytes long, by way of a folder. */
static const char *long_name(size_t len)
{
	static const char away[] = "s/../";
	static char name[1024];

	memset(name, '/', len - 3);
	for (size_t i = 0; i + 5 <= len - 3; i += 5)
		memcpy(name + i, away, 5);
	memcpy(name + len - 3, "new", 4);
	return name;
}

static void rebase(struct trial *t)
{
	struct crash_watch watch = {SEEDS, look, t};
	const char *format = t->scene->format;
	struct hostfile *f = crashfile_host(t->file);
	struct img_rebase job = {
	    .img = crash_must_open(f, format, IMG_O_RDWR | IMG_O_DISCARD),
	    .name = t->name,
	    .format = t->name ? format : NULL};
	struct err e = ERR_INIT;

	scribble(job.img, 7);
	assert_ok(img_pread(job.img, t->want, SIZE, 0, &e), &e);
	assert_ok(img_flush(job.img, &e), &e);
	crash_watch(t->file, &watch);
	assert_ok(img_rebase(&job, &e), &e);
	assert_ok(img_close(job.img, &e), &e);
	crashfile_on_sync(t->file, NULL, NULL);
	host_put(f);
}

static void one_trial(const struct scene *s, bool overlay, const char *name)
{
	static struct trial t;
	struct err e = ERR_INIT;

	t = (struct trial){.scene = s, .file = crashfile_new(&e), .name = name};
	assert_no_error(&e);
	crash_create(
	    t.file, s->format, SIZE, s->options, overlay ? "old" : NULL);
	rebase(&t);
	print_message("%u images, %u with the new name\n", t.images, t.renamed);
	/* Both were met, and at the end only the new one. */
	assert_true(t.renamed > 0 && t.renamed < t.images);
	t.renamed = t.images = 0;
	look(&t, 0);
	assert_int_equal(t.renamed, t.images);
	crashfile_free(t.file);
}

static void crashes(void **state)
{
	const struct scene *s = *state;

	make_base("old", s, 1);
	make_base("new", s, 2);
	one_trial(s, true, "new");
	one_trial(s, false, "new");
	one_trial(s, true, NULL);
	one_trial(s, true, long_name(s->room));
	one_trial(s, false, long_name(s->room));
}

int main(void)
{
	struct group g = {0};

	tmpdir_enter();
	assert_int_equal(mkdir("s", 0700), 0);
	for (size_t i = 0; i < ARRAY_N(scenes); i++)
		group_add(&g, scenes[i].name, crashes, &scenes[i]);
	return group_run(&g, "rebase");
}
