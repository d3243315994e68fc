/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Power fails while an image gets another backing file: whichever of the two
 * its header names then, the disk reads as before.
 */
#include <stdlib.h>
#include <sys/stat.h>

#include "check.h"
#include "crash.h"
#include "formats/core/units.h"
#include "formats/image.h"
#include "rng.h"
#include "tmpdir.h"

#define SIZE  (400 * KiB)
#define SEEDS 24u

struct trial {
	struct crashfile *file;
	uint8_t want[SIZE];
	unsigned images, renamed; /* looked at; of them with the new name */
	const char *name;	  /* the new one; NULL: none */
};

static struct image *open_image(struct hostfile *f)
{
	const struct img_open how = {.format = "qcow2", .flags = IMG_O_RDWR};
	struct err e = ERR_INIT;
	struct image *img = img_open_host(f, &how, &e);

	assert_no_error(&e);
	return img;
}

static bool is_renamed(const struct trial *t, struct image *img)
{
	struct err e = ERR_INIT;
	struct img_info info;
	bool yes;

	assert_ok(img_info(img, &info, &e), &e);
	yes = t->name ? info.backing && !strcmp(info.backing, t->name)
		      : !info.backing;
	if (!yes && info.backing)
		assert_string_equal(info.backing, "old");
	img_info_clear(&info);
	return yes;
}

static void look(struct trial *t, uint64_t seed)
{
	struct err e = ERR_INIT;
	CLEANUP_FREE uint8_t *got = malloc(SIZE);
	struct hostfile *f = crashfile_image(t->file, seed, &e);
	struct image *img;

	assert_no_error(&e);
	crash_check(f, "qcow2");
	img = open_image(f);
	t->images++;
	t->renamed += is_renamed(t, img);
	assert_ok(img_pread(img, got, SIZE, 0, &e), &e);
	assert_memory_equal(got, t->want, SIZE);
	assert_ok(img_close(img, &e), &e);
}

static void power_fails(void *arg, struct crashfile *c, unsigned barrier)
{
	(void)c;
	for (uint64_t seed = 0; seed < SEEDS; seed++)
		look(arg, seed < 2 ? seed : barrier * SEEDS + seed);
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

static void make_base(const char *name, uint64_t seed)
{
	const struct img_open how = {.format = "qcow2", .flags = IMG_O_RDWR};
	struct err e = ERR_INIT;
	CLEANUP(options) struct options *o = options_new(&e);
	struct image *img;

	assert_ok(options_parse(o, "size=400k", NULL, &e), &e);
	assert_ok(img_create(name, "qcow2", o, 0, &e), &e);
	img = img_open(name, &how, &e);
	assert_no_error(&e);
	scribble(img, seed);
	assert_ok(img_close(img, &e), &e);
}

/* Another name of the file "new", `len` bytes long. */
static const char *long_name(size_t len)
{
	static char name[1024];

	memset(name, '/', sizeof name);
	memcpy(name, "./", 2);
	memcpy(name + len - 3, "new", 4);
	return name;
}

static void rebase(struct trial *t)
{
	struct img_rebase job = {
	    .name = t->name, .format = t->name ? "qcow2" : NULL};
	struct err e = ERR_INIT;

	job.img = open_image(crashfile_host(t->file));
	scribble(job.img, 7);
	assert_ok(img_pread(job.img, t->want, SIZE, 0, &e), &e);
	assert_ok(img_flush(job.img, &e), &e);
	crashfile_on_sync(t->file, power_fails, t);
	assert_ok(img_rebase(&job, &e), &e);
	assert_ok(img_close(job.img, &e), &e);
	crashfile_on_sync(t->file, NULL, NULL);
}

static void one_trial(const char *options, bool overlay, const char *name)
{
	static struct trial t;
	struct err e = ERR_INIT;

	t = (struct trial){.file = crashfile_new(&e), .name = name};
	assert_no_error(&e);
	crash_create(t.file, "qcow2", SIZE, options, overlay ? "old" : NULL);
	rebase(&t);
	/* Both were met, and at the end only the new one. */
	assert_true(t.renamed > 0 && t.renamed < t.images);
	t.renamed = t.images = 0;
	look(&t, 0);
	assert_int_equal(t.renamed, t.images);
	crashfile_free(t.file);
}

static void names(const char *options, size_t room)
{
	one_trial(options, true, "new");
	one_trial(options, false, "new");
	one_trial(options, true, NULL);
	one_trial(options, true, long_name(room));
	one_trial(options, false, long_name(room));
}

static void clusters_64k(void **state)
{
	(void)state;
	names("cluster_size=64k", 1023);
	names("cluster_size=64k,extended_l2=on", 1023);
}

static void clusters_4k(void **state)
{
	(void)state;
	names("cluster_size=4k", 1023);
	names("cluster_size=4k,compat=0.10", 900);
}

static void clusters_512(void **state)
{
	(void)state;
	names("cluster_size=512", 300);
	names("cluster_size=1k", 700);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(clusters_64k),
	    cmocka_unit_test(clusters_4k),
	    cmocka_unit_test(clusters_512),
	};

	tmpdir_enter();
	make_base("old", 1);
	make_base("new", 2);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
