/* SPDX-License-Identifier: BSD-3-Clause */
/* Overlapping ranges against an array of counters. */
#include "check.h"
#include "formats/qcow2/spans.h"
#include "rng.h"

#define SPACE 400u

struct walk {
	uint64_t times[SPACE];
	uint64_t at; /* end of the piece before */
};

static int piece(
    void *arg, uint64_t start, uint64_t end, uint64_t times, struct err *e)
{
	struct walk *w = arg;

	(void)e;
	assert_true(start < end);
	assert_true(start >= w->at);
	assert_true(end <= SPACE);
	assert_true(times > 0);
	for (uint64_t i = start; i < end; i++)
		w->times[i] = times;
	w->at = end;
	return 0;
}

static void against_array(void **state)
{
	struct rng rng = {11};
	struct err e = ERR_INIT;

	(void)state;
	for (unsigned round = 0; round < 300; round++) {
		uint64_t want[SPACE] = {0}, n = rng_below(&rng, 40);
		struct spans s = {0};
		struct walk w = {0};

		for (uint64_t i = 0; i < n; i++) {
			uint64_t start = rng_below(&rng, SPACE);
			uint64_t end = rng_below(&rng, SPACE + 1);

			assert_ok(spans_add(&s, start, end, &e), &e);
			for (uint64_t b = start; b < end; b++)
				want[b]++;
		}
		assert_ok(spans_walk(&s, piece, &w, &e), &e);
		assert_memory_equal(w.times, want, sizeof want);
		spans_destroy(&s);
	}
}

static int fails(
    void *arg, uint64_t start, uint64_t end, uint64_t times, struct err *e)
{
	(void)start, (void)end, (void)times;
	++*(unsigned *)arg;
	return err_usage(e, "enough");
}

static void stops(void **state)
{
	struct spans s = {0};
	struct err e = ERR_INIT;
	unsigned calls = 0;

	(void)state;
	assert_ok(spans_add(&s, 1, 3, &e), &e);
	assert_ok(spans_add(&s, 5, UINT64_MAX, &e), &e);
	assert_int_equal(spans_walk(&s, fails, &calls, &e), -1);
	assert_int_equal(calls, 1);
	spans_destroy(&s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(against_array),
	    cmocka_unit_test(stops),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
