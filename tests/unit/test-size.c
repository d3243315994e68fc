/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>

#include "check.h"
#include "formats/core/options.h"
#include "formats/core/size.h"
#include "formats/core/units.h"

/* What `qemu-img measure -O raw --size TEXT` answers. */
static void as_qemu_img(void **state)
{
	static const struct {
		const char *text;
		uint64_t want;
	} good[] = {
	    {"0", 0},
	    {"512", 512},
	    {"010", 10},
	    {" 512", 512},
	    {"+512", 512},
	    {"512b", 512},
	    {"512B", 512},
	    {"1k", KiB},
	    {"1K", KiB},
	    {"1.k", KiB},
	    {"1.5G", 3 * GiB / 2},
	    {"2t", 2 * TiB},
	    {"1P", 1024 * TiB},
	    {"4E", 1ull << 62},
	    {"1.5e", 3ull << 59},
	    {"0x1000", 4096},
	    {"0X10", 16},
	    {"0x1b", 27},
	    {"1.0000001k", 1024},
	    {"0.0004k", 0},
	    {"0.0005k", 1},
	    {"1.b", 1},
	    {"1.0b", 1},
	    {"9223372036854775807", INT64_MAX},
	    {"7.99999999999999999999E", 1ull << 63},
	    {"15.999999999999999E", UINT64_MAX - 1152},
	};
	static const char *const bad[] = {"", " ", "-", "+", "- 5", "x", "1.5",
	    "0.5", "1.5b", "1e3", "1e3k", "1kb", "1 k", "1G ", "1.5kk", ".",
	    ".k", "k", "infk", "nan", "0x", "0xg", "0x1.8", "0x1k", "00x10",
	    "0b11", "1,5k", "0.1e2M", "-x"};
	uint64_t v;

	(void)state;
	for (size_t i = 0; i < ARRAY_N(good); i++) {
		v = 1;
		if (size_scan(good[i].text, &v) || v != good[i].want)
			fail_msg("%s: got %llu", good[i].text,
			    (unsigned long long)v);
	}
	for (size_t i = 0; i < ARRAY_N(bad); i++)
		if (size_scan(bad[i], &v) != EINVAL)
			fail_msg("'%s' was taken", bad[i]);
}

static void limits(void **state)
{
	uint64_t v;

	(void)state;
	assert_int_equal(size_scan("18446744073709551615", &v), 0);
	assert_true(v == UINT64_MAX);
	assert_int_equal(size_scan("0xffffffffffffffff", &v), 0);
	assert_true(v == UINT64_MAX);
	assert_int_equal(size_scan("18446744073709551616", &v), ERANGE);
	assert_int_equal(size_scan("0x10000000000000000", &v), ERANGE);
	assert_int_equal(size_scan("16E", &v), ERANGE);
	assert_int_equal(size_scan("15.99999999999999999999E", &v), ERANGE);
	assert_int_equal(
	    size_scan("99999999999999999999999999999999k", &v), ERANGE);
	assert_int_equal(size_scan("-1", &v), EDOM);
	assert_int_equal(size_scan("-99999999999999999999", &v), EDOM);
}

static void messages(void **state)
{
	struct err e = ERR_INIT;
	uint64_t v = 7;

	(void)state;
	assert_fails(parse_size("-1", "image size", 0, INT64_MAX, &v, &e), &e,
	    EINVAL,
	    "Invalid image size specified. Must be between 0 and "
	    "9223372036854775807.");
	assert_fails(parse_size("8E", "image size", 0, INT64_MAX, &v, &e), &e,
	    EINVAL, "Must be between 0 and 9223372036854775807.");
	assert_fails(parse_size("0", "buffer size", 1, 10, &v, &e), &e, EINVAL,
	    "Invalid buffer size specified. Must be between 1 and 10.");
	assert_int_equal(parse_size("x", "image size", 0, 1, &v, &e), -1);
	assert_string_equal(e.msg, "Invalid image size specified. You may use "
				   "k, M, G, T, P or E suffixes for");
	assert_string_equal(e.hint, "kilobytes, megabytes, gigabytes, "
				    "terabytes, petabytes and exabytes.");
	assert_int_equal(v, 7);
	err_clear(&e);
	assert_ok(parse_size("10", "x", 1, 10, &v, &e), &e);
	assert_int_equal(v, 10);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(as_qemu_img),
	    cmocka_unit_test(limits),
	    cmocka_unit_test(messages),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
