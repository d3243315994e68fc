/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Oracles: zlib with qcow2's window decodes what we pack, and zlib with the
 * largest one packs what we decode.
 */
#include <errno.h>
#include <pthread.h>
#include <zlib.h>

#include "check.h"
#include "formats/codec/codec.h"
#include "formats/core/cleanup.h"
#include "formats/core/units.h"
#include "tests/lib/rng.h"

#define UNIT_MAX (2 * MiB)
#define GARBAGE	 511 /* formats round a stored length up to sectors */

enum content { RANDOM, TEXT, ZEROES, FAR_APART, COUNTERS, CONTENTS };

static uint8_t plain[UNIT_MAX], packed[UNIT_MAX + 4096], got[UNIT_MAX + 1];

static void fill(enum content what, uint8_t *buf, size_t len)
{
	struct rng r = {.state = len + what};

	memset(buf, 0, len);
	switch (what) {
	case RANDOM:
		rng_fill(&r, buf, len);
		return;
	case TEXT:
		for (size_t i = 0; i < len; i++)
			buf[i] = "etaoin shrdlu\n"[rng_below(&r, 14) *
						   rng_below(&r, 14) / 14];
		return;
	case FAR_APART: /* each repetition is further away than 4 KiB */
		rng_fill(&r, buf, min_u64(len, 5000));
		for (size_t i = 5000; i < len; i++)
			buf[i] = buf[i - 5000];
		return;
	case COUNTERS: /* every byte comes before two zeroes */
		for (size_t i = 0; i + 4 <= len; i += 4)
			put_le32(buf + i, (uint32_t)i / 4);
		return;
	case ZEROES:
	case CONTENTS:
		return;
	}
}

/*
 * Decode with a window of 4 KiB, one byte of output at a time: zlib sees a
 * distance that is too long only when it looks into the window.
 */
static void zlib_decode(const uint8_t *in, size_t in_len, size_t len)
{
	z_stream z = {.next_in = (uint8_t *)in, .avail_in = (uInt)in_len};
	int rc = inflateInit2(&z, -12);

	assert_int_equal(rc, Z_OK);
	for (size_t i = 0; i < len; i++) {
		z.next_out = got + i;
		z.avail_out = 1;
		rc = inflate(&z, Z_NO_FLUSH);
		if (rc != Z_OK && rc != Z_STREAM_END)
			fail_msg("zlib at byte %zu: %s", i, z.msg);
	}
	z.next_out = got + len;
	z.avail_out = 1;
	if (rc != Z_STREAM_END)
		rc = inflate(&z, Z_NO_FLUSH);
	assert_int_equal(rc, Z_STREAM_END);
	assert_int_equal(z.avail_in, 0);
	inflateEnd(&z);
	assert_memory_equal(got, plain, len);
}

static void one_unit(enum codec c, int level, enum content what, size_t len)
{
	struct err e = ERR_INIT;
	struct codec_ctx *x = codec_ctx_new(c, level, &e);
	ssize_t n;

	assert_no_error(&e);
	fill(what, plain, len);
	/* Twice: nothing of the first unit may show in the second. */
	for (int i = 0; i < 2; i++) {
		n = codec_pack(x, packed, sizeof packed, plain, len, &e);
		assert_no_error(&e);
		assert_in_range(n, 1, sizeof packed);
		if (c == CODEC_DEFLATE)
			zlib_decode(packed, (size_t)n, len);
	}
	memset(packed + n, 0xa5, GARBAGE);
	memset(got, 0x55, len + 1);
	assert_ok(
	    codec_unpack(c, got, len, packed, (size_t)n + GARBAGE, &e), &e);
	assert_memory_equal(got, plain, len);
	assert_int_equal(got[len], 0x55);
	codec_ctx_free(x);
}

static void round_trips(enum codec c)
{
	static const size_t lens[] = {
	    1, 511, 512, 4096, 65536, 65537, UNIT_MAX};

	for (int what = 0; what < CONTENTS; what++)
		for (size_t i = 0; i < ARRAY_N(lens); i++)
			one_unit(c, 0, (enum content)what, lens[i]);
	for (int level = 1; level <= 9; level += 4)
		for (int what = 0; what < CONTENTS; what++)
			one_unit(c, level, (enum content)what, 65536);
}

static void deflate_trips(void **state)
{
	(void)state;
	assert_true(codec_available(CODEC_DEFLATE));
	round_trips(CODEC_DEFLATE);
}

static void zstd_trips(void **state)
{
	(void)state;
	if (!codec_available(CODEC_ZSTD))
		skip();
	round_trips(CODEC_ZSTD);
}

/* What does not shrink is refused with 0, and the context goes on working. */
static void no_room(void **state)
{
	struct err e = ERR_INIT;

	(void)state;
	for (int c = CODEC_DEFLATE; c <= CODEC_ZSTD; c++) {
		struct codec_ctx *x;

		if (!codec_available((enum codec)c))
			continue;
		x = codec_ctx_new((enum codec)c, 0, &e);
		fill(RANDOM, plain, 65536);
		assert_int_equal(
		    codec_pack(x, packed, 65535, plain, 65536, &e), 0);
		assert_int_equal(codec_pack(x, packed, 1, plain, 65536, &e), 0);
		assert_int_equal(codec_pack(x, packed, 0, plain, 65536, &e), 0);
		fill(TEXT, plain, 65536);
		assert_in_range(
		    codec_pack(x, packed, 65535, plain, 65536, &e), 1, 50000);
		assert_no_error(&e);
		codec_ctx_free(x);
	}
}

static void expect_damaged(
    enum codec c, size_t len, const void *in, size_t stored)
{
	struct err e = ERR_INIT;

	memset(got, 0x55, len + 1);
	if (codec_unpack(c, got, len, in, stored, &e) == 0)
		fail_msg("%s: %zu bytes were taken", codec_name(c), stored);
	assert_int_equal(got[len], 0x55);
	assert_int_equal(e.kind, ERR_DAMAGED);
	assert_int_equal(e.errnum, EIO);
}

/* Streams that are cut, that hold too little, and that are no streams. */
static void damaged(void **state)
{
	struct err e = ERR_INIT;
	struct rng r = {.state = 1};

	(void)state;
	for (int ci = CODEC_DEFLATE; ci <= CODEC_ZSTD; ci++) {
		enum codec c = (enum codec)ci;
		struct codec_ctx *x;
		ssize_t n;

		if (!codec_available(c))
			continue;
		x = codec_ctx_new(c, 0, &e);
		fill(TEXT, plain, 65536);
		n = codec_pack(x, packed, sizeof packed, plain, 65536, &e);
		assert_in_range(n, 1, 65535);
		for (ssize_t cut = 1; cut < n; cut += 997)
			expect_damaged(c, 65536, packed, (size_t)(n - cut) / 2);
		expect_damaged(c, 65537, packed, (size_t)n);
		memset(packed, 0xff, 4096);
		expect_damaged(c, 65536, packed, 4096);
		memset(packed, 0, 4096);
		expect_damaged(c, 65536, packed, 4096);
		for (int i = 0; i < 1000; i++) {
			rng_fill(&r, packed, 64);
			expect_damaged(c, 65536, packed, 64);
		}
		codec_ctx_free(x);
	}
}

/* Flip bytes of good streams: any answer will do, but no byte outside. */
static void flipped(void **state)
{
	struct err e = ERR_INIT;
	struct rng r = {.state = 2};

	(void)state;
	for (int ci = CODEC_DEFLATE; ci <= CODEC_ZSTD; ci++) {
		enum codec c = (enum codec)ci;
		struct codec_ctx *x;
		ssize_t n;

		if (!codec_available(c))
			continue;
		x = codec_ctx_new(c, 0, &e);
		fill(TEXT, plain, 4096);
		n = codec_pack(x, packed, sizeof packed, plain, 4096, &e);
		for (int i = 0; i < 2000; i++) {
			size_t at = rng_below(&r, (uint64_t)n);
			uint8_t old = packed[at];

			packed[at] ^= (uint8_t)(1 + rng_below(&r, 255));
			memset(got, 0x55, 4097);
			err_clear(&e);
			codec_unpack(c, got, 4096, packed, (size_t)n, &e);
			assert_int_equal(got[4096], 0x55);
			packed[at] = old;
		}
		err_clear(&e);
		assert_ok(
		    codec_unpack(c, got, 4096, packed, (size_t)n, &e), &e);
		assert_memory_equal(got, plain, 4096);
		codec_ctx_free(x);
	}
}

/* Other writers use the whole window, and may fill more than the unit. */
static void foreign_deflate(void **state)
{
	struct err e = ERR_INIT;
	z_stream z = {0};
	size_t n;

	(void)state;
	fill(FAR_APART, plain, 65536);
	assert_int_equal(
	    deflateInit2(&z, 9, Z_DEFLATED, -15, 9, Z_DEFAULT_STRATEGY), Z_OK);
	z.next_in = plain;
	z.avail_in = 65536;
	z.next_out = packed;
	z.avail_out = sizeof packed;
	assert_int_equal(deflate(&z, Z_FINISH), Z_STREAM_END);
	n = z.total_out;
	deflateEnd(&z);
	assert_ok(codec_unpack(CODEC_DEFLATE, got, 65536, packed, n, &e), &e);
	assert_memory_equal(got, plain, 65536);
	memset(got, 0x55, 65536);
	assert_ok(codec_unpack(CODEC_DEFLATE, got, 40000, packed, n, &e), &e);
	assert_memory_equal(got, plain, 40000);
	assert_int_equal(got[40000], 0x55);
}

static void names_and_limits(void **state)
{
	struct err e = ERR_INIT;

	(void)state;
	assert_null(codec_name(CODEC_NONE));
	assert_null(codec_name((enum codec)99));
	assert_false(codec_available((enum codec)99));
	assert_string_equal(codec_name(CODEC_DEFLATE), "zlib");
	assert_string_equal(codec_name(CODEC_ZSTD), "zstd");
	assert_null(codec_ctx_new(CODEC_DEFLATE, 10, &e));
	assert_string_equal(
	    e.msg, "compression level 10 of zlib, allowed are 1 to 9");
	err_clear(&e);
	assert_fails(codec_check_level(CODEC_DEFLATE, 0, &e), &e, EINVAL,
	    "compression level 0 of zlib, allowed are 1 to 9");
	assert_int_equal(codec_check_level(CODEC_DEFLATE, 9, &e), 0);
	assert_null(codec_ctx_new((enum codec)99, 0, &e));
	assert_int_equal(e.kind, ERR_UNSUPPORTED);
	err_clear(&e);
	assert_fails(
	    codec_unpack(CODEC_DEFLATE, got, CODEC_UNIT_MAX + 1, packed, 1, &e),
	    &e, EIO, "67108865 bytes");
	assert_fails(codec_unpack(CODEC_DEFLATE, got, 1, packed, 0, &e), &e,
	    EIO, "0 bytes");
	if (!codec_available(CODEC_ZSTD))
		assert_fails(codec_unpack(CODEC_ZSTD, got, 1, packed, 1, &e),
		    &e, ENOTSUP,
		    "compression type zstd is not built into this program");
}

/* Words of a random dictionary. */
static void make_words(struct rng *r, uint8_t *buf, size_t len)
{
	uint8_t dictionary[512];

	rng_fill(r, dictionary, sizeof dictionary);
	for (size_t at = 0, n; at < len; at += n) {
		n = min_u64(3 + rng_below(r, 8), len - at);
		memcpy(buf + at,
		    dictionary + rng_below(r, sizeof dictionary - n), n);
	}
}

/* A hash of what many small units are packed to. */
static void *pack_many(void *arg)
{
	struct err e = ERR_INIT;
	struct rng r = {.state = 3};
	struct codec_ctx *x = codec_ctx_new(CODEC_DEFLATE, 0, &e);
	uint8_t in[512], out[sizeof in];
	uint64_t *hash = arg;

	for (unsigned i = 0; i < 20000; i++) {
		ssize_t n;

		make_words(&r, in, sizeof in);
		n = codec_pack(x, out, sizeof out, in, sizeof in, &e);
		for (ssize_t k = 0; k < n; k++)
			*hash = *hash * 0x100000001b3 ^ out[k];
	}
	codec_ctx_free(x);
	return NULL;
}

/* The same bytes from every thread. */
static void same_in_threads(void **state)
{
	uint64_t want = 0, hash[4] = {0};
	pthread_t thread[4];

	(void)state;
	pack_many(&want);
	assert_int_not_equal(want, 0);
	for (unsigned i = 0; i < ARRAY_N(thread); i++)
		assert_int_equal(
		    pthread_create(&thread[i], NULL, pack_many, &hash[i]), 0);
	for (unsigned i = 0; i < ARRAY_N(thread); i++)
		pthread_join(thread[i], NULL);
	for (unsigned i = 0; i < ARRAY_N(thread); i++)
		assert_int_equal(hash[i], want);
}

struct worker {
	pthread_t thread;
	uint64_t seed;
	bool good;
};

static void *work(void *arg)
{
	struct worker *w = arg;
	struct err e = ERR_INIT;
	struct rng r = {.state = w->seed};
	struct codec_ctx *x = codec_ctx_new(CODEC_DEFLATE, 0, &e);
	uint8_t in[4096], out[5000], back[4096];

	w->good = x;
	for (int i = 0; i < 200 && w->good; i++) {
		ssize_t n;

		for (size_t k = 0; k < sizeof in; k++)
			in[k] = (uint8_t)rng_below(&r, 5);
		n = codec_pack(x, out, sizeof out, in, sizeof in, &e);
		w->good = n > 0 &&
			  !codec_unpack(CODEC_DEFLATE, back, sizeof back, out,
			      (size_t)n, &e) &&
			  !memcmp(in, back, sizeof in);
	}
	codec_ctx_free(x);
	return NULL;
}

static void threads(void **state)
{
	struct worker w[4] = {0};

	(void)state;
	for (unsigned i = 0; i < ARRAY_N(w); i++) {
		w[i].seed = i;
		assert_int_equal(
		    pthread_create(&w[i].thread, NULL, work, &w[i]), 0);
	}
	for (unsigned i = 0; i < ARRAY_N(w); i++) {
		pthread_join(w[i].thread, NULL);
		assert_true(w[i].good);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(deflate_trips),
	    cmocka_unit_test(zstd_trips),
	    cmocka_unit_test(no_room),
	    cmocka_unit_test(damaged),
	    cmocka_unit_test(flipped),
	    cmocka_unit_test(foreign_deflate),
	    cmocka_unit_test(names_and_limits),
	    cmocka_unit_test(same_in_threads),
	    cmocka_unit_test(threads),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
