/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Codecs that are only unpacked.  Oracles: the libraries' own packers; codes
 * made by hand with what they stand for; an LZFSE block that 7-Zip unpacks.
 */
#include <bzlib.h>
#include <errno.h>
#include <lzma.h>
#include <zlib.h>

#include "check.h"
#include "formats/codec/codec.h"
#include "formats/core/units.h"
#include "tests/lib/rng.h"

#define PLAIN_LEN 300000u

static uint8_t plain[PLAIN_LEN], packed[2 * PLAIN_LEN], got[2 * PLAIN_LEN];

static const uint8_t hello[] = {0x62, 0x76, 0x78, 0x32, 0x3f, 0x00, 0x00, 0x00,
    0x08, 0x00, 0x30, 0x00, 0x00, 0x04, 0x00, 0x50, 0x70, 0x82, 0x06, 0x28,
    0xa8, 0x0d, 0x00, 0x00, 0x91, 0x00, 0x00, 0x00, 0x38, 0x60, 0xe0, 0x01,
    0x8f, 0xc0, 0x21, 0x00, 0x87, 0x00, 0x00, 0x00, 0x00, 0xc0, 0x21, 0xc0,
    0xe1, 0x21, 0x1c, 0x02, 0x00, 0x3c, 0x0a, 0xf0, 0x28, 0xf0, 0x28, 0xf0,
    0x28, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
    0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x8f, 0xc6,
    0xa3, 0x01, 0x00, 0x00, 0x8f, 0x06, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
    0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0xc0, 0xa3, 0x01, 0x8f, 0x06,
    0xf0, 0xe8, 0xc0, 0xa3, 0x01, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
    0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
    0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
    0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
    0x00, 0x00, 0x00, 0x00, 0x71, 0x00, 0x08, 0x64, 0x00, 0x62, 0x76, 0x78,
    0x24};
static const char hello_text[] = "hello, hello, hello! hello, hello, hello! "
				 "hello, hello, hello! ";
#define HELLO_LEN (sizeof hello_text - 1)

/* ---- libraries ----------------------------------------------------------- */

static size_t pack(enum codec c, size_t len)
{
	uLongf zlib_len = sizeof packed;
	unsigned bz_len = sizeof packed;
	size_t xz_len = 0;

	switch ((int)c) {
	case CODEC_ZLIB:
		assert_int_equal(compress(packed, &zlib_len, plain, len), Z_OK);
		return zlib_len;
	case CODEC_BZIP2:
		assert_int_equal(
		    BZ2_bzBuffToBuffCompress((char *)packed, &bz_len,
			(char *)plain, (unsigned)len, 9, 0, 0),
		    BZ_OK);
		return bz_len;
	default:
		assert_int_equal(
		    lzma_easy_buffer_encode(1, LZMA_CHECK_CRC32, NULL, plain,
			len, packed, &xz_len, sizeof packed),
		    LZMA_OK);
		return xz_len;
	}
}

static void fill_plain(void)
{
	struct rng r = {.state = 3};

	rng_fill(&r, plain, sizeof plain);
	for (size_t i = 0; i < sizeof plain; i++)
		plain[i] &= i / 1000 % 3 ? 0x0f : 0xff;
}

static void library(enum codec c)
{
	const size_t lens[] = {64, 511, 65536, PLAIN_LEN};
	struct err e = ERR_INIT;

	for (size_t i = 0; i < ARRAY_N(lens); i++) {
		size_t len = lens[i], n = pack(c, len);

		memset(got, 0x5a, sizeof got);
		assert_ok(codec_unpack(c, got, len, packed, n, &e), &e);
		assert_memory_equal(got, plain, len);
		assert_int_equal(got[len], 0x5a);
		/* What follows the stream does not matter. */
		memset(packed + n, 0xff, 100);
		assert_ok(codec_unpack(c, got, len, packed, n + 100, &e), &e);
		assert_fails(codec_unpack(c, got, len + 1, packed, n, &e), &e,
		    EIO, "early");
		assert_fails(codec_unpack(c, got, len, packed, n / 2, &e), &e,
		    EIO, "stored bytes");
	}
}

static void test_libraries(void **unused)
{
	(void)unused;
	fill_plain();
	library(CODEC_ZLIB);
	library(CODEC_BZIP2);
	library(CODEC_XZ);
}

/*
 * A stream that asks for a dictionary of 2 GiB: its size follows the number of
 * the filter in the block header, which follows 12 bytes and ends in a CRC.
 */
static void test_xz_memory(void **unused)
{
	uint8_t *header = packed + 12, *filter;
	struct err e = ERR_INIT;
	size_t n, len;

	(void)unused;
	n = pack(CODEC_XZ, 1000);
	len = header[0] * 4u;
	filter = memmem(header, len, "\x21\x01", 2);
	assert_non_null(filter);
	filter[2] = 38;
	put_le32(header + len, lzma_crc32(header, len, 0));
	assert_fails(codec_unpack(CODEC_XZ, got, 1000, packed, n, &e), &e, EIO,
	    "too much memory");
}

static void test_only_unpacked(void **unused)
{
	struct err e = ERR_INIT;

	(void)unused;
	for (int c = CODEC_BZIP2; c <= CODEC_LZFSE; c++) {
		assert_true(codec_available((enum codec)c));
		assert_null(codec_ctx_new((enum codec)c, 0, &e));
		assert_non_null(strstr(e.msg, "can only be unpacked"));
		err_clear(&e);
	}
}

/* ---- codes --------------------------------------------------------------- */

/* A code, literals that follow it, and the match that it stands for. */
struct code {
	const char *bytes;
	unsigned len;
	const char *literals;
	unsigned match, distance;
};

/* The stream of the codes to `packed`, what it stands for to `plain`. */
static size_t make_codes(const struct code *c, size_t n, size_t *plain_len)
{
	size_t in = 0, out = 0;

	for (size_t i = 0; i < n; i++) {
		size_t literals = strlen(c[i].literals);

		memcpy(packed + in, c[i].bytes, c[i].len);
		memcpy(packed + in + c[i].len, c[i].literals, literals);
		in += c[i].len + literals;
		memcpy(plain + out, c[i].literals, literals);
		out += literals;
		for (unsigned m = 0; m < c[i].match; m++, out++)
			plain[out] = plain[out - c[i].distance];
	}
	*plain_len = out;
	return in;
}

/* Unpacks to `plain`; fails when a byte is missing, or one more is wanted. */
static void check_stream(enum codec c, size_t n, size_t len)
{
	struct err e = ERR_INIT;

	memset(got, 0x5a, len + 1);
	assert_ok(codec_unpack(c, got, len, packed, n, &e), &e);
	assert_memory_equal(got, plain, len);
	assert_int_equal(got[len], 0x5a);
	assert_fails(codec_unpack(c, got, len + 1, packed, n, &e), &e, EIO,
	    codec_name(c));
}

static void test_adc(void **unused)
{
	static const struct code codes[] = {
	    {"\x80", 1, "a", 0, 0},
	    {"\x00\x00", 2, "", 3, 1},
	    {"\x8b", 1, "bcdefghijklm", 0, 0},
	    {"\x3c\x04", 2, "", 18, 5},
	    {"\x40\x00\x0b", 3, "", 4, 12},
	    {"\x7f\x00\x20", 3, "", 67, 33},
	};
	struct err e = ERR_INIT;
	size_t len, n;

	(void)unused;
	n = make_codes(codes, ARRAY_N(codes), &len);
	check_stream(CODEC_ADC, n, len);
	for (size_t cut = 1; cut < n; cut++)
		assert_fails(codec_unpack(CODEC_ADC, got, len, packed, cut, &e),
		    &e, EIO, "adc");
	/* Nothing is before the first byte. */
	assert_fails(
	    codec_unpack(CODEC_ADC, got, 10, "\x80\x61\x00\x01", 4, &e), &e,
	    EIO, "leaves");
	assert_fails(codec_unpack(CODEC_ADC, got, 3, "\x80\x61\x00\x00", 4, &e),
	    &e, EIO, "leaves");
}

/* The codes in `packed` become a block of an LZFSE stream. */
static size_t wrap_lzvn(size_t n, size_t len)
{
	memmove(packed + 12, packed, n);
	memcpy(packed, "bvxn", 4);
	put_le32(packed + 4, (uint32_t)len);
	put_le32(packed + 8, (uint32_t)n);
	memcpy(packed + 12 + n, "bvx$", 4);
	return n + 16;
}

static void test_lzvn(void **unused)
{
	static const struct code codes[] = {
	    {"\x0e", 1, "", 0, 0},
	    {"\xe3", 1, "abc", 0, 0},
	    {"\xe0\x04", 2, "defghijklmnopqrstuvw", 0, 0},
	    {"\x50\x03", 2, "x", 5, 3},
	    {"\x4e", 1, "y", 4, 3},
	    {"\xc8\x01", 2, "123", 4, 1},
	    {"\x16", 1, "", 0, 0},
	    {"\x07\x11\x00", 3, "", 3, 17},
	    {"\xb1\x2a\x00", 3, "45", 9, 10},
	    {"\xf5", 1, "", 5, 10},
	    {"\xf0\x01", 2, "", 17, 10},
	    {"\xbf\x53\x00", 3, "678", 34, 20},
	    {"\x06\0\0\0\0\0\0\0", 8, "", 0, 0},
	};
	struct err e = ERR_INIT;
	size_t len, n;

	(void)unused;
	n = make_codes(codes, ARRAY_N(codes), &len);
	n = wrap_lzvn(n, len);
	check_stream(CODEC_LZFSE, n, len);
	for (size_t cut = 1; cut < n - 4; cut++)
		assert_fails(
		    codec_unpack(CODEC_LZFSE, got, len, packed, cut, &e), &e,
		    EIO, "lzfse");
}

/* Codes without a meaning, and distances of 0 or without one before. */
static void test_lzvn_bad(void **unused)
{
	static const uint8_t bad[] = {
	    0x1e, 0x26, 0x2e, 0x36, 0x3e, 0x70, 0x7f, 0xd0, 0xdf, 0xf3, 0x00};
	struct err e = ERR_INIT;

	(void)unused;
	for (size_t i = 0; i < sizeof bad; i++) {
		size_t n;

		memcpy(packed, "\xe1Z", 2);
		memset(packed + 2, 0, 16);
		packed[2] = bad[i];
		n = wrap_lzvn(18, 20);
		assert_fails(codec_unpack(CODEC_LZFSE, got, 20, packed, n, &e),
		    &e, EIO, "LZVN");
	}
}

/* ---- LZFSE --------------------------------------------------------------- */

static void test_lzfse(void **unused)
{
	struct err e = ERR_INIT;

	(void)unused;
	memcpy(packed, hello, sizeof hello);
	memcpy(plain, hello_text, HELLO_LEN);
	check_stream(CODEC_LZFSE, sizeof hello, HELLO_LEN);
	assert_fails(codec_unpack(CODEC_LZFSE, got, HELLO_LEN - 1, packed,
			 sizeof hello, &e),
	    &e, EIO, "leaves the output");
	for (size_t cut = 1; cut < sizeof hello - 4; cut++)
		assert_fails(
		    codec_unpack(CODEC_LZFSE, got, HELLO_LEN, packed, cut, &e),
		    &e, EIO, "lzfse");
	/* Plain blocks before and behind. */
	memcpy(packed, "bvx-\2\0\0\0ab", 10);
	memcpy(packed + 10, hello, sizeof hello - 4);
	memcpy(packed + 6 + sizeof hello, "bvx-\1\0\0\0cbvx$", 13);
	memcpy(plain, "ab", 2);
	memcpy(plain + 2, hello_text, HELLO_LEN);
	plain[2 + HELLO_LEN] = 'c';
	check_stream(CODEC_LZFSE, sizeof hello + 19, HELLO_LEN + 3);
}

/* Whatever bit is wrong: an answer, and nothing written past the end. */
static void test_lzfse_flipped(void **unused)
{
	struct err e = ERR_INIT;
	unsigned refused = 0;

	(void)unused;
	for (size_t bit = 0; bit < 8 * (sizeof hello - 4); bit++) {
		memcpy(packed, hello, sizeof hello);
		packed[bit / 8] ^= (uint8_t)(1u << bit % 8);
		got[HELLO_LEN] = 0x5a;
		refused += codec_unpack(CODEC_LZFSE, got, HELLO_LEN, packed,
			       sizeof hello, &e) != 0;
		assert_int_equal(got[HELLO_LEN], 0x5a);
		err_clear(&e);
	}
	assert_true(refused > 4 * sizeof hello);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_libraries),
	    cmocka_unit_test(test_xz_memory),
	    cmocka_unit_test(test_only_unpacked),
	    cmocka_unit_test(test_adc),
	    cmocka_unit_test(test_lzvn),
	    cmocka_unit_test(test_lzvn_bad),
	    cmocka_unit_test(test_lzfse),
	    cmocka_unit_test(test_lzfse_flipped),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
