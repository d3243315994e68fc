/* SPDX-License-Identifier: BSD-3-Clause */
/* Numbers of clusters against an array, small and large ones, far apart. */
#include <stdlib.h>

#include "check.h"
#include "formats/core/units.h"
#include "formats/qcow2/refbits.h"
#include "formats/qcow2/refmap.h"
#include "rng.h"

#define AREAS  8u
#define AREA_N 3000u

/* Areas of the cluster space, the last ones far out. */
static uint64_t place(uint64_t i)
{
	static const uint64_t start[AREAS] = {0, 511, 100000, 1ull << 31,
	    1ull << 40, 1ull << 47, 1ull << 54, UINT64_MAX - AREA_N};

	return start[i / AREA_N] + i % AREA_N;
}

/* Places overlap in the first two areas: one number each. */
static uint64_t canonical(uint64_t i)
{
	uint64_t cl = place(i);

	return cl < AREA_N ? cl : i;
}

static void against_array(void **state)
{
	static uint64_t want[AREAS * AREA_N];
	struct rng rng = {7};
	struct refmap m = {0};
	struct err e = ERR_INIT;

	(void)state;
	for (unsigned step = 0; step < 200000; step++) {
		uint64_t i = rng_below(&rng, ARRAY_N(want));
		uint64_t *w = &want[canonical(i)];
		uint64_t v = rng_below(&rng, 3);

		if (rng_below(&rng, 200) == 0)
			v = rng_u64(&rng) >> rng_below(&rng, 64);
		if (rng_below(&rng, 4) == 0) {
			assert_ok(refmap_set(&m, place(i), v, &e), &e);
			*w = v;
		} else {
			assert_ok(refmap_add(&m, place(i), v, &e), &e);
			*w = v > UINT64_MAX - *w ? UINT64_MAX : *w + v;
		}
		assert_int_equal(refmap_get(&m, place(i)), *w);
	}
	for (uint64_t i = 0; i < ARRAY_N(want); i++)
		assert_int_equal(refmap_get(&m, place(i)), want[canonical(i)]);
	refmap_destroy(&m);
	assert_int_equal(refmap_get(&m, 0), 0);
}

static void keys_in_order(void **state)
{
	struct rng rng = {3};
	struct refmap m = {0};
	struct err e = ERR_INIT;
	uint64_t *keys;

	(void)state;
	for (unsigned i = 0; i < 500; i++)
		assert_ok(refmap_set(&m, rng_u64(&rng) >> i % 60, 1, &e), &e);
	keys = refmap_keys(&m, &e);
	assert_no_error(&e);
	for (size_t i = 0; i < m.n; i++) {
		assert_non_null(refmap_page(&m, keys[i]));
		assert_true(!i || keys[i - 1] < keys[i]);
	}
	free(keys);
	refmap_destroy(&m);
}

/* Memory goes with what is set: a million clusters in a row. */
static void dense(void **state)
{
	struct refmap m = {0};
	struct err e = ERR_INIT;

	(void)state;
	for (uint64_t cl = 0; cl < 1000000; cl++)
		assert_ok(refmap_add(&m, cl, 2, &e), &e);
	assert_int_equal(m.n, div_up(1000000, REFMAP_PAGE_N));
	for (size_t i = 0; i < m.max; i++)
		assert_true(!m.slot[i] || !m.slot[i]->wide);
	refmap_destroy(&m);
}

/* Every width: an entry changes, its neighbours do not. */
static void widths(void **state)
{
	uint8_t block[64], copy[64];
	struct rng rng = {5};

	(void)state;
	for (unsigned order = 0; order <= 6; order++) {
		uint64_t n = sizeof block * 8 >> order;

		rng_fill(&rng, block, sizeof block);
		for (unsigned step = 0; step < 2000; step++) {
			uint64_t ix = rng_below(&rng, n), v = rng_u64(&rng);

			if (order < 6)
				v &= (1ull << (1u << order)) - 1;
			memcpy(copy, block, sizeof copy);
			refbits_put(block, order, ix, v);
			for (uint64_t i = 0; i < n; i++)
				assert_int_equal(refbits_get(block, order, i),
				    i == ix ? v : refbits_get(copy, order, i));
		}
	}
}

/* Where the specification says that they are. */
static void layout(void **state)
{
	static const uint8_t b[8] = {0x81, 0x20, 3, 4, 5, 6, 7, 8};

	(void)state;
	assert_int_equal(refbits_get(b, 0, 0), 1);
	assert_int_equal(refbits_get(b, 0, 1), 0);
	assert_int_equal(refbits_get(b, 0, 7), 1);
	assert_int_equal(refbits_get(b, 0, 13), 1);
	assert_int_equal(refbits_get(b, 1, 3), 2);
	assert_int_equal(refbits_get(b, 2, 0), 1);
	assert_int_equal(refbits_get(b, 2, 1), 8);
	assert_int_equal(refbits_get(b, 3, 1), 0x20);
	assert_int_equal(refbits_get(b, 4, 1), 0x0304);
	assert_int_equal(refbits_get(b, 5, 1), 0x05060708);
	assert_int_equal(refbits_get(b, 6, 0), 0x8120030405060708);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(against_array),
	    cmocka_unit_test(keys_in_order),
	    cmocka_unit_test(dense),
	    cmocka_unit_test(widths),
	    cmocka_unit_test(layout),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
