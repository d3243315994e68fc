/* SPDX-License-Identifier: BSD-3-Clause */
#include "check.h"
#include "formats/core/units.h"

static void sums(void **state)
{
	uint64_t v = 7;

	(void)state;
	assert_true(add_ok(UINT64_MAX - 1, 1, &v));
	assert_true(v == UINT64_MAX);
	assert_false(add_ok(UINT64_MAX, 1, &v));
	assert_false(add_ok(UINT64_MAX, UINT64_MAX, &v));
	assert_true(mul_ok(1ull << 32, (1ull << 32) - 1, &v));
	assert_true(v == UINT64_MAX - UINT32_MAX);
	assert_false(mul_ok(1ull << 32, 1ull << 32, &v));
	assert_true(mul_ok(0, UINT64_MAX, &v));
	assert_int_equal(v, 0);
}

static void ranges(void **state)
{
	(void)state;
	assert_true(range_ok(0, 0, 0));
	assert_true(range_ok(10, 0, 10));
	assert_true(range_ok(3, 7, 10));
	assert_false(range_ok(3, 8, 10));
	assert_false(range_ok(11, 0, 10));
	assert_false(range_ok(5, UINT64_MAX, 10));
	assert_false(range_ok(UINT64_MAX, UINT64_MAX, UINT64_MAX));
	assert_true(range_ok(0, UINT64_MAX, UINT64_MAX));
}

static void rounding(void **state)
{
	(void)state;
	assert_int_equal(round_down(4095, 512), 3584);
	assert_int_equal(round_down(4096, 512), 4096);
	assert_int_equal(round_up(4097, 512), 4608);
	assert_int_equal(round_up(4096, 512), 4096);
	assert_int_equal(round_up(0, 512), 0);
	assert_true(round_up((1ull << 63) + 1, 1ull << 62) ==
		    (1ull << 63) + (1ull << 62));
	assert_true(is_aligned(8192, 4096));
	assert_false(is_aligned(8193, 4096));
	assert_true(is_aligned(7, 1));
	assert_int_equal(div_up(0, 3), 0);
	assert_int_equal(div_up(9, 3), 3);
	assert_int_equal(div_up(10, 3), 4);
	assert_true(div_up(UINT64_MAX, 2) == 1ull << 63);
	assert_int_equal(min_u64(1, UINT64_MAX), 1);
	assert_true(max_u64(1, UINT64_MAX) == UINT64_MAX);
}

static void powers(void **state)
{
	(void)state;
	assert_false(is_pow2(0));
	assert_false(is_pow2(3));
	for (unsigned i = 0; i < 64; i++) {
		assert_true(is_pow2(1ull << i));
		assert_int_equal(log2_u64(1ull << i), i);
		assert_int_equal(log2_u64(UINT64_MAX >> (63 - i)), i);
	}
}

/* Any address; the bytes around stay. */
static void byte_order(void **state)
{
	static const uint8_t in[] = {0, 0x81, 2, 3, 4, 5, 6, 7, 0x88};
	uint8_t out[10];

	(void)state;
	assert_int_equal(be16(in + 1), 0x8102);
	assert_int_equal(le16(in + 1), 0x0281);
	assert_int_equal(be32(in + 1), 0x81020304);
	assert_int_equal(le32(in + 1), 0x04030281);
	assert_true(be64(in + 1) == 0x8102030405060788);
	assert_true(le64(in + 1) == 0x8807060504030281);

	memset(out, 0xee, sizeof out);
	put_be16(out + 1, 0x8102);
	assert_memory_equal(out, "\xee\x81\x02\xee", 4);
	put_le16(out + 1, 0x8102);
	assert_memory_equal(out, "\xee\x02\x81\xee", 4);
	put_be32(out + 1, 0x81020304);
	assert_memory_equal(out, "\xee\x81\x02\x03\x04\xee", 6);
	put_le32(out + 1, 0x81020304);
	assert_memory_equal(out, "\xee\x04\x03\x02\x81\xee", 6);
	put_be64(out + 1, 0x8102030405060708);
	assert_memory_equal(
	    out, "\xee\x81\x02\x03\x04\x05\x06\x07\x08\xee", 10);
	put_le64(out + 1, 0x8102030405060708);
	assert_memory_equal(
	    out, "\xee\x08\x07\x06\x05\x04\x03\x02\x81\xee", 10);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(sums),
	    cmocka_unit_test(ranges),
	    cmocka_unit_test(rounding),
	    cmocka_unit_test(powers),
	    cmocka_unit_test(byte_order),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
