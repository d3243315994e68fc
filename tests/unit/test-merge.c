/* SPDX-License-Identifier: BSD-3-Clause */
/* Merging the upper layers of a chain into a lower one. */
#include <stdlib.h>

#include "chain.h"
#include "check.h"
#include "formats/core/units.h"
#include "tmpdir.h"

#define SEEDS 60u

static void expect_bytes(struct image *img, const uint8_t *want, uint64_t len)
{
	CLEANUP_FREE uint8_t *got = NULL;
	uint64_t size;

	got = chain_bytes(img, &size);
	assert_true(size >= len);
	for (uint64_t i = 0; i < len; i++)
		if (got[i] != want[i])
			fail_msg("%s: byte %llu", img_name(img),
			    (unsigned long long)i);
}

/* The layer has nothing of its own. */
static void expect_empty(struct image *img)
{
	struct err e = ERR_INIT;
	struct img_extent x;

	if (!img_size(img))
		return;
	assert_ok(img_map_layer(img, 0, img_size(img), &x, &e), &e);
	assert_int_equal(x.present, 0);
	assert_int_equal(x.len, img_size(img));
}

struct state {
	uint8_t *top, *base;
	uint64_t top_len, base_len;
};

static void merge(const struct chain *c, unsigned depth, bool keep)
{
	const struct img_open how = {
	    .flags = IMG_O_DISCARD | (keep ? 0 : IMG_O_RDWR),
	    .writable_depth = depth};
	struct img_merge job = {.keep = keep};
	struct err e = ERR_INIT;

	job.top = job.base = chain_open(c, c->n - 1, &how);
	assert_int_equal(
	    img_find_below(job.top, c->layer[c->n - 1 - depth].name), depth);
	for (unsigned i = 0; i < depth; i++)
		job.base = img_backing(job.base);
	assert_ok(img_merge(&job, &e), &e);
	chain_close(job.top);
}

static void look_after(
    const struct chain *c, unsigned base_ix, bool kept, const struct state *was)
{
	CLEANUP(image) struct image *top = chain_open(c, c->n - 1, NULL);
	CLEANUP(image) struct image *base = chain_open(c, base_ix, NULL);
	CLEANUP_FREE uint8_t *bytes = chain_bytes(base, NULL);

	if (base_ix == c->n - 2 || !kept)
		expect_bytes(top, was->top, was->top_len);
	expect_bytes(base, was->top, was->top_len);
	assert_int_equal(img_size(base), max_u64(was->base_len, was->top_len));
	if (was->base_len > was->top_len)
		assert_memory_equal(bytes + was->top_len,
		    was->base + was->top_len, was->base_len - was->top_len);
	if (!kept)
		expect_empty(top);
	for (unsigned i = 0; i < c->n; i++)
		chain_check(c, i);
}

static void merge_at_random(uint64_t seed)
{
	struct rng r = {.state = seed};
	unsigned n = 2 + (unsigned)rng_below(&r, CHAIN_MAX - 1);
	unsigned depth = 1 + (unsigned)rng_below(&r, n - 1);
	bool keep = depth > 1 || rng_below(&r, 3) == 0;
	struct chain c;
	struct image *img;
	struct state was;

	print_message("seed %llu: %u layers, down by %u\n",
	    (unsigned long long)seed, n, depth);
	chain_make(&c, "l", n, seed);
	img = chain_open(&c, n - 1, NULL);
	was.top = chain_bytes(img, &was.top_len);
	chain_close(img);
	img = chain_open(&c, n - 1 - depth, NULL);
	was.base = chain_bytes(img, &was.base_len);
	chain_close(img);
	merge(&c, depth, keep);
	look_after(&c, n - 1 - depth, keep, &was);
	free(was.top);
	free(was.base);
}

static void random_chains(void **state)
{
	const char *one = getenv("TEST_SEED");

	(void)state;
	if (one) {
		merge_at_random(strtoull(one, NULL, 0));
		return;
	}
	for (uint64_t seed = 1; seed <= SEEDS; seed++)
		merge_at_random(seed);
}

/* ---- refusals ----------------------------------------------------------- */

static void refused(void **state)
{
	const struct img_open how = {.flags = IMG_O_RDWR, .writable_depth = 2};
	struct err e = ERR_INIT;
	struct img_merge job = {0};
	struct image *top;
	struct chain c;

	(void)state;
	chain_make(&c, "r", 3, 1);
	job.top = top = chain_open(&c, 2, &how);
	job.base = top;
	assert_fails(img_merge(&job, &e), &e, EINVAL, "not in the backing");
	job.base = img_backing(img_backing(top));
	assert_fails(img_merge(&job, &e), &e, EINVAL, "not right below");
	job.base = img_backing(top);
	assert_fails(img_merge(&job, &e), &e, EROFS, "read-only");
	assert_int_equal(img_find_below(top, "r2"), 0);
	assert_int_equal(img_find_below(top, "./r0"), 2);
	chain_close(top);
}

static int stop(void *arg, uint64_t done, uint64_t total)
{
	(void)arg, (void)done, (void)total;
	return 1;
}

/* Nothing is lost when it is stopped. */
static void stopped(void **state)
{
	const struct img_open how = {.flags = IMG_O_RDWR, .writable_depth = 1};
	struct err e = ERR_INIT;
	struct img_merge job = {.progress = {.step = stop}};
	CLEANUP_FREE uint8_t *was = NULL;
	struct chain c;
	uint64_t len;

	(void)state;
	chain_make(&c, "s", 2, 5);
	job.top = chain_open(&c, 1, &how);
	job.base = img_backing(job.top);
	was = chain_bytes(job.top, &len);
	assert_fails(img_merge(&job, &e), &e, ECANCELED, "stopped");
	chain_close(job.top);
	job.top = chain_open(&c, 1, NULL);
	expect_bytes(job.top, was, len);
	chain_close(job.top);
	chain_check(&c, 0);
	chain_check(&c, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(random_chains),
	    cmocka_unit_test(refused),
	    cmocka_unit_test(stopped),
	};

	tmpdir_enter();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
