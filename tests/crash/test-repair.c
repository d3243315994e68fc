/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Power or host calls fail while a damaged image is repaired.  What could be
 * read before can be read still, nothing else is wrong than before, and the
 * repair can be made again.
 */
#include <stdio.h>
#include <stdlib.h>

#include "check.h"
#include "crash.h"
#include "effort.h"
#include "faultfile.h"
#include "formats/core/units.h"
#include "formats/image.h"
#include "hostio.h"
#include "qcow2raw.h"
#include "rng.h"

#define SIZE   (400 * KiB)
#define UNIT   512u /* bytes that are read at once */
#define COPIED (1ull << 63)
#define IMAGES 6u /* at each sync */

/* ---- damage -----------------------------------------------------------------
 */

static uint64_t cluster_at_random(struct hostfile *f, struct rng *r)
{
	uint64_t len = qcow2raw_cluster_len(f);

	return rng_below(r, host_size(f) / len) * len;
}

static void flip(struct hostfile *f, uint64_t host, uint64_t bits)
{
	qcow2raw_put64(f, host, qcow2raw_get64(f, host) ^ bits);
}

/* Version 3, in which the header has the incompatible features. */
static bool is_v3(struct hostfile *f)
{
	return (qcow2raw_get64(f, 0) & UINT32_MAX) >= 3;
}

/* An entry of the first L2 table that is in use. */
static uint64_t entry_at_random(struct hostfile *f, struct rng *r)
{
	bool extended = is_v3(f) && qcow2raw_get64(f, 72) & 16;

	return qcow2raw_l2(f) + (extended ? 16 : 8) * rng_below(r, 6);
}

static void too_high(struct hostfile *f, struct rng *r)
{
	for (unsigned i = 0; i < 6; i++)
		qcow2raw_set_count(f, cluster_at_random(f, r), 7);
}

static void too_low(struct hostfile *f, struct rng *r)
{
	for (unsigned i = 0; i < 6; i++)
		qcow2raw_set_count(f, cluster_at_random(f, r), 0);
}

static void no_block(struct hostfile *f, struct rng *r)
{
	(void)r;
	qcow2raw_put64(f, qcow2raw_reftable(f), 0);
}

static void block_on_data(struct hostfile *f, struct rng *r)
{
	uint64_t data = qcow2raw_get64(f, entry_at_random(f, r));

	qcow2raw_put64(f, qcow2raw_reftable(f), data & ~COPIED);
}

static void block_on_l2(struct hostfile *f, struct rng *r)
{
	(void)r;
	qcow2raw_put64(f, qcow2raw_reftable(f), qcow2raw_l2(f));
}

static void shared(struct hostfile *f, struct rng *r)
{
	uint64_t from = qcow2raw_get64(f, entry_at_random(f, r));

	qcow2raw_put64(f, entry_at_random(f, r), from);
}

static void behind(struct hostfile *f, struct rng *r)
{
	uint64_t len = qcow2raw_cluster_len(f);
	uint64_t end = round_up(host_size(f), len);

	no_block(f, r);
	for (unsigned i = 0; i < 3; i++)
		qcow2raw_put64(f, entry_at_random(f, r),
		    COPIED | (end + len * rng_below(r, 4)));
}

static void flags(struct hostfile *f, struct rng *r)
{
	for (unsigned i = 0; i < 4; i++)
		flip(f, entry_at_random(f, r), COPIED);
	flip(f, qcow2raw_l1(f), COPIED);
}

static void reserved(struct hostfile *f, struct rng *r)
{
	flip(f, entry_at_random(f, r), 1ull << 58);
	flip(f, qcow2raw_l1(f), 1ull << 57);
	too_low(f, r);
}

static void all_of_it(struct hostfile *f, struct rng *r)
{
	too_high(f, r);
	too_low(f, r);
	shared(f, r);
	flags(f, r);
	reserved(f, r);
	if (is_v3(f)) /* dirty, corrupt */
		flip(f, 72, 3);
}

static const struct damage {
	const char *name;
	void (*fn)(struct hostfile *f, struct rng *r);
	enum img_repair what;
} damages[] = {
    {"counts too high, leaks", too_high, IMG_REPAIR_LEAKS},
    {"counts too high", too_high, IMG_REPAIR_ALL},
    {"counts too low", too_low, IMG_REPAIR_ALL},
    {"no block", no_block, IMG_REPAIR_ALL},
    {"block on data", block_on_data, IMG_REPAIR_ALL},
    {"block on an L2 table", block_on_l2, IMG_REPAIR_ALL},
    {"shared", shared, IMG_REPAIR_ALL},
    {"behind the end", behind, IMG_REPAIR_ALL},
    {"flags", flags, IMG_REPAIR_ALL},
    {"reserved bits", reserved, IMG_REPAIR_ALL},
    {"all", all_of_it, IMG_REPAIR_ALL},
};

static const char *const scenes[] = {
    "cluster_size=1k",
    "cluster_size=4k,compat=0.10",
    "cluster_size=64k",
    "cluster_size=16k,extended_l2=on",
};

/* ---- looking ----------------------------------------------------------------
 */

struct world {
	const struct damage *damage;
	struct hostfile *file;
	uint8_t want[SIZE]; /* what the disk reads ... */
	bool readable[SIZE / UNIT];
	uint64_t wrong;	 /* what is wrong before, without leaks and flags */
	uint64_t remain; /* what no repair can put right */
	unsigned image_n;
};

static struct image *open_as(struct hostfile *f, unsigned how_flags)
{
	const struct img_open how = {.format = "qcow2", .flags = how_flags};
	struct err e = ERR_INIT;
	struct image *img = img_open_host(host_ref(f), &how, &e);

	assert_no_error(&e);
	return img;
}

static void count_finding(void *arg, const char *line)
{
	uint64_t *n = arg;

	if (strncmp(line, "Leaked", 6) && !strstr(line, "OFLAG_COPIED"))
		++*n;
}

static uint64_t what_is_wrong(struct hostfile *f)
{
	struct image *img = open_as(f, IMG_O_CHECK);
	struct err e = ERR_INIT;
	struct img_check found;
	uint64_t n = 0;

	assert_ok(img_check(img, &found, count_finding, &n, &e), &e);
	img_drop(img);
	return n;
}

static void read_disk(struct world *w, struct hostfile *f)
{
	struct image *img = open_as(f, 0);

	for (unsigned i = 0; i < SIZE / UNIT; i++) {
		struct err e = ERR_INIT;

		w->readable[i] =
		    !img_pread(img, w->want + i * UNIT, UNIT, i * UNIT, &e);
	}
	img_drop(img);
}

static void expect_disk(struct world *w, struct hostfile *f)
{
	struct image *img = open_as(f, 0);
	uint8_t got[UNIT];

	for (unsigned i = 0; i < SIZE / UNIT; i++) {
		struct err e = ERR_INIT;

		if (!w->readable[i])
			continue;
		assert_ok(img_pread(img, got, UNIT, i * UNIT, &e), &e);
		assert_memory_equal(got, w->want + i * UNIT, UNIT);
	}
	img_drop(img);
}

static int repair(struct hostfile *f, enum img_repair what,
    struct img_check *found, struct err *e)
{
	const struct img_open how = {
	    .format = "qcow2", .flags = IMG_O_CHECK | IMG_O_RDWR};
	struct image *img = img_open_host(host_ref(f), &how, e);
	struct err closing = ERR_INIT;
	int rc;

	if (!img)
		return -1;
	rc = img_repair(img, what, found, NULL, NULL, e);
	return img_close(img, &closing) && !rc ? -1 : rc;
}

/* An image whose repair was broken off. */
static void judge(struct world *w, struct hostfile *f)
{
	struct err e = ERR_INIT;
	struct img_check found;

	expect_disk(w, f);
	assert_true(what_is_wrong(f) <= w->wrong);
	assert_ok(repair(f, w->damage->what, &found, &e), &e);
	assert_true(found.corruptions <= w->remain);
	assert_int_equal(found.leaks + found.check_errors, 0);
	expect_disk(w, f);
	w->image_n++;
}

static void go_on(struct world *w, struct hostfile *f)
{
	struct image *img = open_as(f, IMG_O_RDWR);
	struct err e = ERR_INIT;

	assert_ok(img_pwrite(img, w->want, 70000, 1000, 0, &e), &e);
	assert_ok(img_close(img, &e), &e);
	assert_int_equal(what_is_wrong(f), 0);
}

/* ---- what is done -----------------------------------------------------------
 */

static void fill(struct hostfile *f, uint64_t seed)
{
	struct image *img = open_as(f, IMG_O_RDWR);
	static uint8_t buf[SIZE];
	struct rng r = {.state = seed};
	struct err e = ERR_INIT;

	rng_fill(&r, buf, SIZE);
	assert_ok(img_pwrite(img, buf, SIZE, 0, 0, &e), &e);
	assert_ok(img_snapshot_create(img, "s", &e), &e);
	assert_ok(img_pwrite(img, buf, SIZE / 3, 100, 0, &e), &e);
	assert_ok(img_close(img, &e), &e);
}

/* The damaged image, and what is known of it. */
static void prepare(struct world *w, const struct damage *d, uint64_t seed)
{
	struct rng r = {.state = seed};
	struct err e = ERR_INIT;
	struct hostfile *trial = host_open_memory("trial", 0, &e);
	struct img_check found;

	w->damage = d;
	fill(w->file, seed);
	d->fn(w->file, &r);
	assert_ok(host_sync(w->file, &e), &e);
	read_disk(w, w->file);
	w->wrong = what_is_wrong(w->file);
	assert_ok(hostio_copy(trial, w->file, &e), &e);
	assert_ok(repair(trial, d->what, &found, &e), &e);
	w->remain = found.corruptions;
	if (d->fn != behind)
		assert_int_equal(found.corruptions, 0);
	expect_disk(w, trial);
	if (!w->remain)
		go_on(w, trial);
	host_put(trial);
}

static void power_fails(void *arg, struct crashfile *c, unsigned barrier)
{
	struct world *w = arg;

	for (uint64_t i = 0; i < IMAGES; i++) {
		uint64_t seed = i < 2 ? i : barrier * IMAGES + i;
		struct err e = ERR_INIT;
		struct hostfile *f = crashfile_image(c, seed, &e);

		assert_no_error(&e);
		judge(w, f);
		host_put(f);
	}
}

static void crash_in(const char *options, const struct damage *d, uint64_t seed)
{
	static struct world w;
	struct err e = ERR_INIT;
	struct crashfile *c = crashfile_new(&e);
	struct img_check found;

	w = (struct world){0};
	assert_no_error(&e);
	crash_create(c, "qcow2", SIZE, options, NULL);
	w.file = crashfile_host(c);
	prepare(&w, d, seed);
	crashfile_on_sync(c, power_fails, &w);
	assert_ok(repair(w.file, d->what, &found, &e), &e);
	assert_true(w.image_n >= 2 * IMAGES);
	crashfile_on_sync(c, NULL, NULL);
	judge(&w, w.file);
	host_put(w.file);
	crashfile_free(c);
}

static void crashes(void **state)
{
	const struct damage *d = *state;

	for (size_t i = 0; i < ARRAY_N(scenes); i++)
		for (uint64_t seed = 1; seed <= EFFORT(3, 1); seed++)
			crash_in(scenes[i], d, seed);
}

/* ---- faults -----------------------------------------------------------------
 */

static const struct way {
	unsigned kinds;
	int errnum;
	bool stays;
} ways[] = {
    {FAULT_READ | FAULT_MAP, EIO, false},
    {FAULT_WRITE, EIO, false},
    {FAULT_SYNC, EIO, false},
    {FAULT_CHANGES & ~FAULT_SYNC, ENOSPC, true},
};

/* False when there was no Nth call. */
static bool fault(
    struct world *w, const struct way *way, uint64_t n, struct hostfile *clean)
{
	struct err e = ERR_INIT, failed = ERR_INIT;
	struct hostfile *under = host_open_memory("disk", 0, &e), *f;
	struct img_check found;
	bool hit;
	int rc;

	assert_ok(hostio_copy(under, clean, &e), &e);
	f = faultfile_new(host_ref(under), &e);
	assert_no_error(&e);
	faultfile_fail(f, way->kinds, n, way->errnum, way->stays);
	rc = repair(f, w->damage->what, &found, &failed);
	hit = faultfile_hit(f);
	host_put(f);
	assert_true(hit || !rc);
	judge(w, under);
	host_put(under);
	return hit;
}

static void faults(void **state)
{
	static struct world w;
	const struct damage *d = *state;
	struct err e = ERR_INIT;
	CLEANUP(options) struct options *o = options_new(&e);

	w = (struct world){.file = host_open_memory("clean", 0, &e)};
	assert_ok(options_parse(o, "size=400k,cluster_size=4k", NULL, &e), &e);
	assert_ok(img_create_host(w.file, "qcow2", o, &e), &e);
	prepare(&w, d, 5);
	for (size_t i = 0; i < ARRAY_N(ways); i++) {
		uint64_t n = 1;

		while (fault(&w, &ways[i], n, w.file))
			n += EFFORT(1, 7);
	}
	host_put(w.file);
}

/* A device cannot grow: the new counts go where there is room. */
static void device(void **state)
{
	static struct world w;
	struct err e = ERR_INIT;
	CLEANUP(options) struct options *o = options_new(&e);
	struct img_check found;

	(void)state;
	w = (struct world){.file = host_open_memory("device", 0, &e)};
	assert_ok(options_parse(o, "size=400k,cluster_size=4k", NULL, &e), &e);
	assert_ok(img_create_host(w.file, "qcow2", o, &e), &e);
	prepare(&w, &damages[3], 6);
	w.file->fixed_size = true;
	assert_fails(repair(w.file, IMG_REPAIR_ALL, &found, &e), &e, ENOSPC,
	    "no room for new reference counts");
	w.file->fixed_size = false;
	assert_ok(host_truncate(w.file, host_size(w.file) + 3 * 4096, &e), &e);
	w.file->fixed_size = true;
	assert_ok(repair(w.file, IMG_REPAIR_ALL, &found, &e), &e);
	assert_int_equal(found.corruptions + found.leaks, 0);
	expect_disk(&w, w.file);
	host_put(w.file);
}

int main(void)
{
	struct CMUnitTest tests[2 * ARRAY_N(damages) + 1];
	size_t n = 0;

	for (size_t i = 0; i < ARRAY_N(damages); i++) {
		void *d = (void *)(uintptr_t)&damages[i];

		tests[n++] = (struct CMUnitTest){.name = damages[i].name,
		    .test_func = crashes,
		    .initial_state = d};
		tests[n++] = (struct CMUnitTest){.name = damages[i].name,
		    .test_func = faults,
		    .initial_state = d};
	}
	tests[n++] = (struct CMUnitTest)cmocka_unit_test(device);
	return _cmocka_run_group_tests("repair", tests, n, NULL, NULL);
}
