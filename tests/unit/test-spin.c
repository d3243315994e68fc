/* SPDX-License-Identifier: BSD-3-Clause */
/* Looking again: for a moment, by one thread, and ever less often in vain. */
#include <time.h>

#include "check.h"
#include "server/spin.h"

static int64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static void test_ends(void **state)
{
	struct spin s = {0};
	int64_t began = now_ns();

	(void)state;
	assert_true(spin_begin(&s));
	while (spin_more(&s))
		assert_true(now_ns() - began < 5000000000);
	spin_end(&s, false);
}

static void test_one_at_a_time(void **state)
{
	struct spin a = {0}, b = {0};

	(void)state;
	assert_true(spin_begin(&a));
	assert_false(spin_begin(&b));
	spin_end(&a, true);
	assert_true(spin_begin(&b));
	spin_end(&b, true);
}

/* How many times it is left out. */
static unsigned pause_len(struct spin *s)
{
	unsigned n = 0;

	while (!spin_begin(s))
		n++;
	return n;
}

static void test_in_vain(void **state)
{
	struct spin s = {0};

	(void)state;
	assert_int_equal(pause_len(&s), 0);
	for (unsigned want = 1; want < 255; want = 2 * want + 1) {
		spin_end(&s, false);
		assert_int_equal(pause_len(&s), want);
	}
	for (int i = 0; i < 3; i++) {
		spin_end(&s, false);
		assert_int_equal(pause_len(&s), 255);
	}
	spin_end(&s, true);
	assert_int_equal(pause_len(&s), 0);
	spin_end(&s, true);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_ends),
	    cmocka_unit_test(test_one_at_a_time),
	    cmocka_unit_test(test_in_vain),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
