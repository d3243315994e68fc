/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Dirty maps against an array with a byte for each granule.
 */
#include <stdlib.h>

#include "check.h"
#include "formats/core/cleanup.h"
#include "formats/core/dirtymap.h"
#include "formats/core/units.h"
#include "rng.h"

#define GRANULARITY_BITS 12u
#define NODE_BITS	 (1ull << 24) /* one node of the map */

/* A map and what it must hold. */
struct pair {
	struct dirtymap *map;
	uint8_t *want; /* 0 or 1 for each granule; zeroes behind */
	uint64_t n, max;
};

static struct pair pair_new(uint64_t size, uint64_t size_max)
{
	struct err e = ERR_INIT;
	struct pair p = {.n = div_up(size, 1u << GRANULARITY_BITS),
	    .max = div_up(size_max, 1u << GRANULARITY_BITS)};

	p.map = dirtymap_new(size, GRANULARITY_BITS, &e);
	assert_no_error(&e);
	p.want = calloc(1, p.max + 8);
	assert_non_null(p.want);
	return p;
}

static void pair_free(struct pair *p)
{
	dirtymap_free(p->map);
	free(p->want);
}

static uint64_t want_run(const struct pair *p, uint64_t from)
{
	uint64_t n = from;

	while (n < p->n && p->want[n] == p->want[from])
		n++;
	return n - from;
}

static void expect_runs(const struct pair *p)
{
	uint64_t size = p->map->size, off = 0, run;

	while (off < size) {
		uint64_t ix = off >> GRANULARITY_BITS;
		bool dirty = dirtymap_run(p->map, off, size - off, &run);

		assert_int_equal(dirty, p->want[ix]);
		assert_int_equal(run,
		    min_u64(size - off, want_run(p, ix) << GRANULARITY_BITS));
		off += run;
	}
}

static uint8_t want_byte(const struct pair *p, uint64_t pos)
{
	uint8_t byte = 0;

	for (unsigned i = 0; i < 8 && 8 * pos + i < p->n; i++)
		byte |= p->want[8 * pos + i] << i;
	return byte;
}

static void set(struct pair *p, uint64_t off, uint64_t len)
{
	struct err e = ERR_INIT;
	uint64_t first = off >> GRANULARITY_BITS;

	assert_ok(dirtymap_set(p->map, off, len, &e), &e);
	if (len)
		memset(p->want + first, 1,
		    ((off + len - 1) >> GRANULARITY_BITS) - first + 1);
}

static void resize(struct pair *p, uint64_t size)
{
	struct err e = ERR_INIT;
	uint64_t n = div_up(size, 1u << GRANULARITY_BITS);

	assert_ok(dirtymap_resize(p->map, size, &e), &e);
	if (n < p->n)
		memset(p->want + n, 0, p->n - n);
	p->n = n;
}

/* Through bytes into another map. */
static void expect_bytes(const struct pair *p, uint64_t piece)
{
	CLEANUP_FREE uint8_t *buf = malloc(piece);
	struct err e = ERR_INIT;
	struct pair copy = pair_new(p->map->size, p->map->size);
	uint64_t end = dirtymap_bytes_n(p->map);

	assert_int_equal(end, div_up(p->n, 8));
	for (uint64_t pos = 0; pos < end + piece; pos += piece) {
		switch (dirtymap_kind(p->map, pos, piece)) {
		case DIRTYMAP_CLEAN:
			dirtymap_get(p->map, buf, piece, pos);
			for (uint64_t i = 0; i < piece; i++)
				assert_int_equal(buf[i], 0);
			break;
		case DIRTYMAP_DIRTY:
			assert_ok(
			    dirtymap_add_ones(copy.map, pos, piece, &e), &e);
			assert_true(pos + piece <= end);
			break;
		case DIRTYMAP_MIXED:
			dirtymap_get(p->map, buf, piece, pos);
			for (uint64_t i = 0; i < piece; i++)
				assert_int_equal(buf[i], want_byte(p, pos + i));
			assert_ok(
			    dirtymap_add(copy.map, buf, piece, pos, &e), &e);
			break;
		}
	}
	memcpy(copy.want, p->want, p->n);
	expect_runs(&copy);
	pair_free(&copy);
}

static void random_changes(
    uint64_t size, uint64_t len_max, unsigned n, uint64_t seed)
{
	struct pair p = pair_new(size, 2 * size);
	struct rng r = {.state = seed};

	for (unsigned i = 0; i < n; i++) {
		uint64_t off = rng_below(&r, p.map->size);
		uint64_t len = rng_below(&r, len_max);

		if (!rng_below(&r, 12))
			resize(&p, 1 + rng_below(&r, 2 * size));
		else
			set(&p, off, min_u64(len, p.map->size - off));
		expect_runs(&p);
	}
	expect_bytes(&p, 512);
	expect_bytes(&p, 65536);
	pair_free(&p);
}

static void small(void **state)
{
	(void)state;
	for (uint64_t seed = 1; seed <= 20; seed++) {
		random_changes(1 + seed * 777777, 300000, 40, seed);
		random_changes((seed + 1) * MiB, MiB, 40, seed);
	}
}

/* Whole leaves and nodes are dirty, and cut. */
static void large(void **state)
{
	uint64_t node_len = NODE_BITS << GRANULARITY_BITS;

	(void)state;
	random_changes(node_len + 12345678, node_len, 8, 3);
}

static void node_boundaries(void **state)
{
	uint64_t node_len = NODE_BITS << GRANULARITY_BITS;
	struct pair p = pair_new(2 * node_len + 5, 2 * node_len + 5);

	(void)state;
	set(&p, node_len - 1, node_len + 2);
	expect_runs(&p);
	resize(&p, node_len + 4096 * 100 + 1);
	expect_runs(&p);
	resize(&p, 2 * node_len + 5);
	expect_runs(&p);
	expect_bytes(&p, 2 * MiB);
	set(&p, 0, p.map->size);
	expect_runs(&p);
	expect_bytes(&p, 2 * MiB);
	pair_free(&p);
}

/* Bits past the last granule, as a hostile file may have them. */
static void tail_bits(void **state)
{
	static const uint8_t ones[600] = {[0 ... 599] = 0xff};
	struct err e = ERR_INIT;

	(void)state;
	for (uint64_t n = 1; n < 70; n++) {
		uint64_t size = n << GRANULARITY_BITS, run;
		struct pair p = pair_new(size, 8 * size);

		assert_ok(dirtymap_add(p.map, ones, sizeof ones, 0, &e), &e);
		memset(p.want, 1, n);
		assert_true(dirtymap_run(p.map, 0, size, &run));
		assert_int_equal(run, size);
		assert_int_equal(dirtymap_kind(p.map, 0, 64), DIRTYMAP_MIXED);
		resize(&p, 8 * size);
		expect_runs(&p);
		pair_free(&p);
	}
}

static void merge_granularities(void **state)
{
	struct err e = ERR_INIT;
	struct rng r = {.state = 9};

	(void)state;
	for (unsigned bits = 9; bits < 20; bits++) {
		uint64_t size = 3 * MiB + 1234, off, run, len;
		struct pair p = pair_new(size, size);
		struct dirtymap *src = dirtymap_new(size, bits, &e);

		set(&p, 100000, 5);
		for (unsigned i = 0; i < 20; i++) {
			off = rng_below(&r, size);
			len = min_u64(rng_below(&r, 9000), size - off);
			assert_ok(dirtymap_set(src, off, len, &e), &e);
		}
		assert_ok(dirtymap_merge(p.map, src, &e), &e);
		for (off = 0; off < size; off += run)
			if (dirtymap_run(src, off, size - off, &run))
				set(&p, off, run);
		expect_runs(&p);
		dirtymap_free(src);
		src = dirtymap_copy(p.map, &e);
		dirtymap_clear(p.map);
		assert_false(dirtymap_run(p.map, 0, size, &run));
		assert_int_equal(run, size);
		assert_ok(dirtymap_merge(p.map, src, &e), &e);
		expect_runs(&p);
		dirtymap_free(src);
		pair_free(&p);
	}
}

/* The largest disk: offsets near 2^63. */
static void huge(void **state)
{
	struct err e = ERR_INIT;
	uint64_t size = INT64_MAX, run;
	struct dirtymap *m = dirtymap_new(size, 31, &e);

	(void)state;
	assert_no_error(&e);
	assert_ok(dirtymap_set(m, size - 1, 1, &e), &e);
	assert_false(dirtymap_run(m, 0, size, &run));
	assert_int_equal(run, round_down(size - 1, 1ull << 31));
	assert_true(dirtymap_run(m, run, size - run, &run));
	assert_ok(dirtymap_set(m, 0, size, &e), &e);
	assert_true(dirtymap_run(m, 0, size, &run));
	assert_int_equal(run, size);
	dirtymap_free(m);
}

static void empty_disk(void **state)
{
	struct err e = ERR_INIT;
	struct dirtymap *m = dirtymap_new(0, 16, &e);

	(void)state;
	assert_no_error(&e);
	assert_int_equal(dirtymap_bytes_n(m), 0);
	assert_ok(dirtymap_resize(m, MiB, &e), &e);
	assert_ok(dirtymap_set(m, 0, MiB, &e), &e);
	assert_ok(dirtymap_resize(m, 0, &e), &e);
	dirtymap_free(m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(small),
	    cmocka_unit_test(large),
	    cmocka_unit_test(node_boundaries),
	    cmocka_unit_test(tail_bits),
	    cmocka_unit_test(merge_granularities),
	    cmocka_unit_test(huge),
	    cmocka_unit_test(empty_disk),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
