/* SPDX-License-Identifier: BSD-3-Clause */
/* Percentiles of latencies, against all of them sorted. */
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "ctl/latency.h"
#include "formats/core/units.h"
#include "rng.h"

#define MOST_N 5000u

static const double percents[] = {0, 1, 50, 90, 99, 99.9, 99.99, 100};

static int compare(const void *a, const void *b)
{
	uint64_t x, y;

	memcpy(&x, a, sizeof x);
	memcpy(&y, b, sizeof y);
	return (x > y) - (x < y);
}

/* The smallest of them that so many do not exceed. */
static uint64_t wanted(const uint64_t *sorted, uint64_t n, double percent)
{
	for (uint64_t i = 0; i < n; i++)
		if ((double)(i + 1) * 100 >= percent * (double)n)
			return sorted[i];
	return sorted[n - 1];
}

static void expect_percentiles(const struct latency *l, uint64_t *ns)
{
	qsort(ns, l->n, sizeof *ns, compare);
	assert_int_equal(l->min_ns, ns[0]);
	assert_int_equal(l->max_ns, ns[l->n - 1]);
	for (size_t i = 0; i < ARRAY_N(percents); i++) {
		uint64_t want = wanted(ns, l->n, percents[i]);
		uint64_t got = latency_percentile(l, percents[i]);

		assert_true(got >= want);
		assert_true(got - want <= want / 32);
	}
}

/* Of all magnitudes; 5000 of them have a sum. */
static uint64_t one(struct rng *r)
{
	return rng_u64(r) >> (14 + rng_below(r, 50));
}

static void percentiles(void **state)
{
	static const uint64_t counts[] = {1, 2, 3, 100, MOST_N};
	static uint64_t ns[MOST_N];
	struct rng r = {.state = 5};

	(void)state;
	for (size_t i = 0; i < ARRAY_N(counts); i++) {
		static struct latency l, half[2];
		uint64_t sum = 0;

		memset(&l, 0, sizeof l);
		memset(half, 0, sizeof half);
		for (uint64_t k = 0; k < counts[i]; k++) {
			ns[k] = one(&r);
			sum += ns[k];
			latency_add(&l, ns[k]);
			latency_add(&half[k % 3 == 0], ns[k]);
		}
		assert_int_equal(l.n, counts[i]);
		assert_int_equal(l.sum_ns, sum);
		expect_percentiles(&l, ns);
		latency_merge(&half[0], &half[1]);
		assert_memory_equal(&half[0], &l, sizeof l);
	}
}

static void none(void **state)
{
	static struct latency l, other;

	(void)state;
	assert_int_equal(latency_percentile(&l, 99), 0);
	latency_add(&l, 7);
	latency_merge(&l, &other);
	assert_int_equal(l.min_ns, 7);
	latency_merge(&other, &l);
	assert_int_equal(other.min_ns, 7);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(percentiles),
	    cmocka_unit_test(none),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
