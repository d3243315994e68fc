/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Power fails while a VMDK disk of several files is written, or repaired.
 * Whatever of each file is found, the disk opens, what was flushed is there, in
 * whichever file, and nothing is stale or foreign; a check finds leaks at
 * worst, and a repair that was broken off can be made again.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "check.h"
#include "crash.h"
#include "crashdir.h"
#include "effort.h"
#include "formats/core/units.h"
#include "formats/image.h"
#include "group.h"
#include "ledger.h"
#include "parts.h"
#include "script.h"
#include "tmpdir.h"

#define STEPS  EFFORT(160u, 50u)
#define IMAGES 4u /* at each sync */
#define GO_ON  9u /* every so many images */
#define LIVE   "live/disk.vmdk"
#define LEFT   "crash/disk.vmdk"
#define LATER  (1ull << 32) /* versions after a crash */

static const struct scene {
	const char *name;
	struct parts parts;
	bool sparse; /* there are tables to repair */
} scenes[] = {
    {"sparse", {PARTS_SPARSE, 3, 384 * KiB}, true},
    {"sparse, zeroed grains",
	{PARTS_SPARSE, 2, 512 * KiB, .zeroed_grain = true}, true},
    {"flat", {PARTS_FLAT, 3, 256 * KiB}},
    {"one flat", {PARTS_ONE_FLAT, 1, 512 * KiB}},
    {"ESX sparse", {PARTS_COWD, 2, 384 * KiB}, true},
};

struct trial {
	const struct scene *scene;
	struct image *img;
	struct ledger ledger;
	struct rng rng;
	uint64_t version;
	unsigned image_n;
	uint8_t *want; /* of a disk that is repaired */
	bool *readable;
};

static struct hostfile *host(const char *path)
{
	struct err e = ERR_INIT;
	struct hostfile *f = host_open_file(path, HOST_RDWR, &e);

	assert_no_error(&e);
	return f;
}

static struct hostfile *open_part(const char *dir, unsigned n)
{
	char path[32];

	snprintf(path, sizeof path, "%s/disk-s%03u.vmdk", dir, n);
	return host(path);
}

static struct image *open_disk(const char *path, unsigned flags)
{
	struct hostfile *f = host(path);
	struct image *img = crash_must_open(f, "vmdk", flags);

	host_put(f);
	return img;
}

static void check_left(const struct scene *s)
{
	struct hostfile *f = host(LEFT);

	crash_check(f, "vmdk");
	host_put(f);
	for (unsigned i = 1; s->parts.kind == PARTS_COWD && i <= s->parts.n;
	     i++) {
		f = open_part("crash", i);
		parts_check_cowd(f);
		host_put(f);
	}
}

static void close_disk(struct image *img)
{
	struct err e = ERR_INIT;

	assert_ok(img_close(img, &e), &e);
}

static void make(const struct scene *s)
{
	parts_make("live", "disk", &s->parts);
}

static void remove_live(void)
{
	assert_int_equal(system("rm -r live && mkdir live"), 0);
}

/* ---- writes -------------------------------------------------------------- */

static void go_on(struct trial *t, struct image *img)
{
	struct err e = ERR_INIT;
	struct ledger now;
	struct script s = {.img = img,
	    .ledger = &now,
	    .rng = &t->rng,
	    .version = t->version + LATER,
	    .stride = 1};

	ledger_copy(&now, &t->ledger);
	assert_ok(script_go_on(&s, 12, &e), &e);
	ledger_free(&now);
}

static void look(void *arg, uint64_t seed)
{
	struct trial *t = arg;
	bool write = t->image_n++ % GO_ON == 0;
	struct err e = ERR_INIT;
	CLEANUP_FREE uint8_t *got = NULL;
	struct image *img;
	uint64_t bad = 0;

	crashdir_image("crash", seed);
	check_left(t->scene);
	img = open_disk(LEFT, write ? IMG_O_RDWR | IMG_O_DISCARD : 0);
	got = script_read(img, &e);
	assert_no_error(&e);
	if (!ledger_allows(&t->ledger, got, 0, t->ledger.sector_n, &bad))
		fail_msg(
		    "seed %" PRIu64 ": sector %" PRIu64 " is wrong", seed, bad);
	if (write)
		go_on(t, img);
	close_disk(img);
	if (write)
		check_left(t->scene);
}

static void writes(void **state)
{
	struct trial t = {.scene = *state, .rng = {5}, .version = LEDGER_BASE};
	struct crash_watch watch = {IMAGES, look, &t};
	struct script s = {
	    .ledger = &t.ledger, .rng = &t.rng, .stride = 1, .version = 1};
	struct err e = ERR_INIT;

	make(t.scene);
	crashdir_begin("live", &watch);
	s.img = open_disk(LIVE, IMG_O_RDWR | IMG_O_DISCARD);
	ledger_init(&t.ledger, img_size(s.img) / LEDGER_SECTOR, NULL);
	for (unsigned i = 0; i < STEPS; i++) {
		assert_ok(script_step(&s, &e), &e);
		t.version = s.version;
		if (i % 4 == 0)
			crash_look(&watch, i);
	}
	close_disk(s.img);
	ledger_flush(&t.ledger);
	look(&t, 0);
	print_message("%u images\n", t.image_n);
	assert_true(t.image_n > STEPS);
	ledger_free(&t.ledger);
	crashdir_end();
	remove_live();
}

/* ---- repairs ------------------------------------------------------------- */

#define UNIT 512u /* bytes that are read at once */

static uint32_t get(struct hostfile *f, uint64_t off)
{
	struct err e = ERR_INIT;
	uint8_t p[4];

	assert_ok(host_pread(f, p, sizeof p, off, &e), &e);
	return le32(p);
}

/* An entry of the first table that the directory in this field names. */
static void put(struct hostfile *f, uint64_t field, uint64_t ix, uint32_t to)
{
	uint64_t gt = SECTOR_LEN * get(f, SECTOR_LEN * get(f, field));
	struct err e = ERR_INIT;
	uint8_t p[4];

	put_le32(p, to);
	assert_ok(host_pwrite(f, p, sizeof p, gt + 4 * ix, &e), &e);
}

/* In one file: two entries have one grain, which leaves one to nobody, and one
 * points far behind the end. */
static void damage(const struct scene *s, unsigned n)
{
	static const uint64_t hosted[] = {56, 48}, cowd[] = {20, 20};
	const uint64_t *field = s->parts.kind == PARTS_COWD ? cowd : hosted;
	struct hostfile *f = open_part("live", n);

	for (unsigned i = 0; i < 2; i++) {
		uint64_t gt =
		    SECTOR_LEN * get(f, SECTOR_LEN * get(f, field[0]));

		put(f, field[i], 1 + n % 2, get(f, gt));
		put(f, field[i], 4, 1u << 24);
	}
	host_put(f);
}

static void read_units(struct trial *t)
{
	struct image *img = open_disk(LIVE, 0);
	uint64_t size = img_size(img);

	t->want = malloc(size);
	t->readable = calloc(size / UNIT, sizeof *t->readable);
	assert_true(t->want && t->readable);
	for (uint64_t off = 0; off < size; off += UNIT) {
		struct err e = ERR_INIT;

		t->readable[off / UNIT] =
		    !img_pread(img, t->want + off, UNIT, off, &e);
	}
	img_drop(img);
}

static void expect_units(const struct trial *t)
{
	struct image *img = open_disk(LEFT, 0);
	uint8_t got[UNIT];

	for (uint64_t off = 0; off < img_size(img); off += UNIT) {
		struct err e = ERR_INIT;

		if (!t->readable[off / UNIT])
			continue;
		assert_ok(img_pread(img, got, UNIT, off, &e), &e);
		assert_memory_equal(got, t->want + off, UNIT);
	}
	img_drop(img);
}

static void repair(const char *path)
{
	struct image *img = open_disk(path, IMG_O_CHECK | IMG_O_RDWR);
	struct err e = ERR_INIT;
	struct img_check found;

	assert_ok(img_repair(img, IMG_REPAIR_ALL, &found, NULL, NULL, &e), &e);
	assert_int_equal(found.corruptions, 0);
	assert_int_equal(found.check_errors, 0);
	close_disk(img);
}

static void look_repair(void *arg, uint64_t seed)
{
	struct trial *t = arg;

	crashdir_image("crash", seed);
	expect_units(t);
	repair(LEFT);
	check_left(t->scene);
	expect_units(t);
	t->image_n++;
}

static void fill(struct trial *t)
{
	struct image *img = open_disk(LIVE, IMG_O_RDWR);
	CLEANUP_FREE uint8_t *buf = malloc(img_size(img));
	struct err e = ERR_INIT;

	assert_non_null(buf);
	rng_fill(&t->rng, buf, img_size(img));
	assert_ok(img_pwrite(img, buf, img_size(img), 0, 0, &e), &e);
	close_disk(img);
}

static void repairs(void **state)
{
	struct trial t = {.scene = *state, .rng = {9}};
	struct crash_watch watch = {IMAGES, look_repair, &t};

	make(t.scene);
	fill(&t);
	for (unsigned i = 1; i <= t.scene->parts.n; i++)
		damage(t.scene, i);
	read_units(&t);
	crashdir_begin("live", &watch);
	repair(LIVE);
	look_repair(&t, 0);
	print_message("%u images\n", t.image_n);
	assert_true(t.image_n > 4 * IMAGES);
	crashdir_end();
	remove_live();
	free(t.want);
	free(t.readable);
}

/* ---- the tests ----------------------------------------------------------- */

int main(void)
{
	struct group g = {0};

	tmpdir_enter();
	assert_int_equal(mkdir("live", 0777), 0);
	for (size_t i = 0; i < ARRAY_N(scenes); i++) {
		const struct scene *s = &scenes[i];

		group_add(&g, s->name, writes, s);
		if (s->sparse)
			group_add(&g, s->name, repairs, s);
	}
	return group_run(&g, "vmdk files");
}
