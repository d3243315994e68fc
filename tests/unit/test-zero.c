/* SPDX-License-Identifier: BSD-3-Clause */
#include "check.h"
#include "formats/core/zero.h"

static uint8_t buf[65536];

static void one_byte(void **state)
{
	(void)state;
	for (size_t start = 0; start < 9; start++)
		for (size_t len = 0; len < 600; len++) {
			assert_true(is_zero(buf + start, len));
			if (!len)
				continue;
			for (size_t at = len - 1;; at /= 2) {
				buf[start + at] = 1;
				assert_false(is_zero(buf + start, len));
				assert_true(is_zero(buf + start, at));
				buf[start + at] = 0;
				if (!at)
					break;
			}
		}
}

static void prefix(void **state)
{
	(void)state;
	assert_int_equal(zero_prefix(buf, 5000, 512), 5000);
	assert_int_equal(zero_prefix(buf, 0, 512), 0);
	buf[4999] = 1;
	assert_int_equal(zero_prefix(buf, 5000, 512), 4608);
	assert_int_equal(zero_prefix(buf, 5000, 4096), 4096);
	buf[4999] = 0;
}

static void expect_run(size_t len, size_t min, size_t want, bool zero)
{
	struct zero_run r = zero_run_first(buf, len, 512, min);

	assert_int_equal(r.len, want);
	assert_int_equal(r.zero, zero);
}

static void runs(void **state)
{
	(void)state;
	expect_run(10000, 4096, 10000, true);
	expect_run(100, 4096, 100, true);   /* all of it, if short */
	expect_run(10000, 0, 10000, false); /* 0: all is data */
	buf[8192] = 1;
	expect_run(65536, 4096, 8192, true);
	expect_run(65536, 8192, 8192, true);
	expect_run(65536, 8193, 8704, false); /* too short: data */
	expect_run(8704, 8193, 8704, false);
	buf[0] = 1;
	expect_run(65536, 4096, 512, false);
	expect_run(65536, 7680, 512, false);
	expect_run(65536, 7681, 8704, false);
	expect_run(9000, 4096, 512, false);
	expect_run(65536, 65536, 65536, false);
	memset(buf, 0, sizeof buf);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(one_byte),
	    cmocka_unit_test(prefix),
	    cmocka_unit_test(runs),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
