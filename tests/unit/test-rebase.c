/* SPDX-License-Identifier: BSD-3-Clause */
/* Giving images another backing file. */
#include <stdio.h>
#include <stdlib.h>

#include "chain.h"
#include "check.h"
#include "formats/core/units.h"
#include "tmpdir.h"

#define SEEDS 40u

/* What the image stands on afterwards. */
enum onto {
	ONTO_NONE,
	ONTO_ANCESTOR, /* a layer of its own chain, or what it stands on */
	ONTO_OTHER,    /* another chain                                  */
	ONTO_KINDS,
};

struct target {
	const char *name, *format; /* NULL: none */
};

static struct target pick(
    const struct chain *own, const struct chain *other, struct rng *r)
{
	const struct chain *c = other;
	unsigned i = other->n - 1;

	switch ((enum onto)rng_below(r, ONTO_KINDS)) {
	case ONTO_NONE:
		return (struct target){0};
	case ONTO_ANCESTOR:
		c = own;
		i = (unsigned)rng_below(r, own->n - 1);
		break;
	case ONTO_OTHER:
	case ONTO_KINDS:
		break;
	}
	return (struct target){c->layer[i].name, c->layer[i].format};
}

static void expect_backing(struct image *img, const struct target *t)
{
	struct err e = ERR_INIT;
	struct img_info info;

	assert_ok(img_info(img, &info, &e), &e);
	if (t->name) {
		assert_string_equal(info.backing, t->name);
		assert_string_equal(info.backing_format, t->format);
	} else {
		assert_null(info.backing);
		assert_null(info.backing_format);
	}
	img_info_clear(&info);
}

static void expect_bytes(struct image *img, const uint8_t *want)
{
	CLEANUP_FREE uint8_t *got = NULL;
	uint64_t len;

	got = chain_bytes(img, &len);
	for (uint64_t i = 0; i < len; i++)
		if (got[i] != want[i])
			fail_msg("%s: byte %llu", img_name(img),
			    (unsigned long long)i);
}

static void rebase(struct image *img, const struct target *t, bool pack)
{
	struct err e = ERR_INIT;
	const struct img_rebase job = {
	    .img = img, .name = t->name, .format = t->format, .pack = pack};

	if (!img_rebase(&job, &e))
		return;
	/* What is refused is told before anything is done. */
	if (pack && strstr(e.msg, "Compression not supported for this"))
		return;
	fail_msg("%s", e.msg);
}

static void rebase_at_random(uint64_t seed)
{
	const struct img_open how = {.flags = IMG_O_RDWR};
	struct rng r = {.state = seed};
	unsigned n = 2 + (unsigned)rng_below(&r, CHAIN_MAX - 1);
	CLEANUP_FREE uint8_t *want = NULL;
	struct chain own, other;
	struct image *img;
	struct target t;

	chain_make(&own, "o", n, seed);
	chain_make(&other, "b", 1 + (unsigned)rng_below(&r, 2), seed + 1000000);
	t = pick(&own, &other, &r);
	print_message("seed %llu: %u layers, onto %s\n",
	    (unsigned long long)seed, n, t.name ? t.name : "nothing");
	img = chain_open(&own, n - 1, &how);
	want = chain_bytes(img, NULL);
	rebase(img, &t, rng_below(&r, 4) == 0);
	expect_bytes(img, want);
	chain_close(img);
	img = chain_open(&own, n - 1, &how);
	expect_bytes(img, want);
	chain_close(img);
	chain_check(&own, n - 1);
}

static void random_chains(void **state)
{
	const char *one = getenv("TEST_SEED");

	(void)state;
	if (one) {
		rebase_at_random(strtoull(one, NULL, 0));
		return;
	}
	for (uint64_t seed = 1; seed <= SEEDS; seed++)
		rebase_at_random(seed);
}

/* ---- only what would differ is copied ------------------------------------ */

#define SIZE (1 * MiB)

static void put(struct image *img, int byte, size_t len, uint64_t off)
{
	static uint8_t buf[SIZE];
	struct err e = ERR_INIT;

	memset(buf, byte, len);
	assert_ok(img_pwrite(img, buf, len, off, 0, &e), &e);
}

/* The image has exactly these grains itself: one letter for each, '-' for
 * those that it has not, 'z' zero, 'd' data. */
static void expect_own(struct image *img, uint32_t grain, const char *want)
{
	char got[1025] = "";

	assert_true(SIZE / grain < sizeof got);
	for (uint64_t at = 0; at < SIZE; at += grain) {
		struct err e = ERR_INIT;
		struct img_extent x;

		assert_ok(img_map_layer(img, at, grain, &x, &e), &e);
		assert_int_equal(x.len, grain);
		got[at / grain] = !x.present ? '-' : x.zero ? 'z' : 'd';
	}
	got[strspn(got, "-dz")] = 0;
	for (size_t i = strlen(want); i < SIZE / grain; i++)
		assert_int_equal(got[i], '-');
	got[strlen(want)] = 0;
	assert_string_equal(got, want);
}

/* Grains 0 and 1 differ, 2 is data below only by then, 3 only now, 4 is the
 * same, 5 the image has itself, 6 is zero in both. */
static void copied(const char *options, uint32_t grain, const char *want)
{
	struct image *old = chain_layer("old", SIZE, NULL, "cluster_size=4k");
	struct image *new = chain_layer("new", SIZE, NULL, "cluster_size=8k");
	struct target t = {"new", "qcow2"};
	struct image *img;

	put(old, 1, 5 * grain, 0);
	put(old, 0, grain, 2 * grain);
	put(new, 2, 2 * grain, 0);
	put(new, 3, grain, 2 * grain);
	put(new, 1, grain, 4 * grain);
	put(new, 7, grain, 5 * grain);
	chain_close(old);
	chain_close(new);
	img = chain_layer("img", SIZE, "old", options);
	put(img, 4, grain, 5 * grain);
	rebase(img, &t, false);
	expect_own(img, grain, want);
	expect_backing(img, &t);
	chain_close(img);
}

static void grains(void **state)
{
	(void)state;
	copied("cluster_size=64k", 65536, "ddzd-d");
	copied("cluster_size=4k", 4096, "ddzd-d");
	copied("cluster_size=512", 512 * 8, "ddzd-d");
	copied("cluster_size=4k,compat=0.10", 4096, "dddd-d");
	copied("cluster_size=64k,extended_l2=on", 2048, "ddzd-d");
	copied("cluster_size=128k,extended_l2=on", 4096, "ddzd-d");
}

/* Down to the chain's own base: what that has is not even read. */
static void onto_own_base(void **state)
{
	struct image *img = chain_layer("base", SIZE, NULL, "cluster_size=64k");
	struct target t = {"base", "qcow2"};

	(void)state;
	put(img, 1, SIZE, 0);
	chain_close(img);
	img = chain_layer("mid", SIZE, "base", "cluster_size=64k");
	put(img, 2, 100000, 0);
	chain_close(img);
	img = chain_layer("img", SIZE, "mid", "cluster_size=64k");
	rebase(img, &t, false);
	expect_own(img, 65536, "dd");
	expect_backing(img, &t);
	chain_close(img);
}

/* The manual's way to make a difference between two disks. */
static void difference(void **state)
{
	struct image *img =
	    chain_layer("first", SIZE, NULL, "cluster_size=64k");
	struct target t = {"first", "qcow2"};

	(void)state;
	put(img, 1, SIZE / 2, 0);
	chain_close(img);
	img = chain_layer("second", SIZE, NULL, "cluster_size=64k");
	put(img, 1, SIZE / 2, 0);
	put(img, 9, 10, 3 * 65536);
	chain_close(img);
	img = chain_layer("diff", SIZE, "second", "cluster_size=64k");
	rebase(img, &t, false);
	expect_own(img, 65536, "---d");
	chain_close(img);
}

static void packed(void **state)
{
	struct image *img = chain_layer("old", SIZE, NULL, "cluster_size=64k");
	struct err e = ERR_INIT;
	struct target t = {0};
	struct img_extent x;

	(void)state;
	put(img, 1, 100000, 0);
	chain_close(img);
	img = chain_layer("img", SIZE, "old", "cluster_size=64k");
	rebase(img, &t, true);
	expect_own(img, 65536, "dd");
	assert_ok(img_map_layer(img, 0, 65536, &x, &e), &e);
	assert_true(x.packed);
	chain_close(img);
}

/* ---- refusals ------------------------------------------------------------ */

static int stop(void *arg, uint64_t done, uint64_t total)
{
	(void)arg, (void)done, (void)total;
	return 1;
}

static void refused(void **state)
{
	const struct img_open how = {.flags = IMG_O_RDWR};
	struct err e = ERR_INIT;
	struct img_rebase job = {.name = "new"};
	CLEANUP_FREE uint8_t *want = NULL;
	char name[1100];
	struct chain c;

	(void)state;
	chain_make(&c, "r", 3, 1);
	job.img = chain_open(&c, 2, &how);
	want = chain_bytes(job.img, NULL);
	assert_fails(img_rebase(&job, &e), &e, EINVAL,
	    "Could not change the backing file to 'new': backing format must "
	    "be specified");
	job.format = "qcow2";
	job.name = "none";
	assert_fails(img_rebase(&job, &e), &e, ENOENT,
	    "Could not open new backing file 'none': Could not open 'none'");
	memset(name, 'x', sizeof name);
	name[1024] = 0;
	job.name = name;
	assert_fails(img_rebase(&job, &e), &e, EINVAL,
	    "the name has 1024 bytes: at most 1023 fit");
	job.name = c.layer[2].name;
	job.how.flags = IMG_O_FORCE_SHARE | IMG_O_NO_BACKING;
	assert_fails(img_rebase(&job, &e), &e, ELOOP, "infinite loop");
	job.name = NULL;
	job.progress.step = stop;
	assert_fails(img_rebase(&job, &e), &e, ECANCELED, "stopped");
	expect_bytes(job.img, want);
	chain_close(job.img);
	chain_check(&c, 2);
	job.img = chain_open(&c, 2, &how);
	expect_bytes(job.img, want);
	assert_string_equal(img_name(img_backing(job.img)), c.layer[1].name);
	chain_close(job.img);
}

static void no_room_for_the_name(void **state)
{
	struct image *img =
	    chain_layer("small", SIZE, NULL, "cluster_size=512");
	struct err e = ERR_INIT;
	char name[400];

	(void)state;
	memset(name, 'x', sizeof name);
	name[399] = 0;
	assert_fails(img_set_backing(img, name, "raw", &e), &e, ENOSPC,
	    "No space left in the file header");
	name[300] = 0;
	assert_ok(img_set_backing(img, name, "raw", &e), &e);
	chain_close(img);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(random_chains),
	    cmocka_unit_test(grains),
	    cmocka_unit_test(onto_own_base),
	    cmocka_unit_test(difference),
	    cmocka_unit_test(packed),
	    cmocka_unit_test(refused),
	    cmocka_unit_test(no_room_for_the_name),
	};

	tmpdir_enter();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
