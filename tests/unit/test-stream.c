/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Unpacking piece by piece gives what unpacking at once gives, whatever the
 * pieces are, and fails where that fails.
 */
#include <bzlib.h>
#include <lzma.h>
#include <zlib.h>

#include "check.h"
#include "formats/codec/codec.h"
#include "formats/core/units.h"
#include "tests/lib/rng.h"

#define UNIT_LEN   300000u
#define STORED_MAX (2 * UNIT_LEN)
#define DAMAGES	   60u

static uint8_t plain[UNIT_LEN], got[UNIT_LEN], whole[UNIT_LEN],
    stored[STORED_MAX];

static const enum codec codecs[] = {CODEC_ZLIB, CODEC_BZIP2, CODEC_XZ};

static size_t pack(enum codec c, size_t len)
{
	uLongf zlib_len = sizeof stored;
	unsigned bzip2_len = sizeof stored;
	size_t xz_len = 0;

	switch (c) {
	case CODEC_ZLIB:
		assert_int_equal(compress(stored, &zlib_len, plain, len), Z_OK);
		return zlib_len;
	case CODEC_BZIP2:
		assert_int_equal(
		    BZ2_bzBuffToBuffCompress((char *)stored, &bzip2_len,
			(char *)plain, (unsigned)len, 1, 0, 0),
		    BZ_OK);
		return bzip2_len;
	default:
		assert_int_equal(
		    lzma_easy_buffer_encode(1, LZMA_CHECK_CRC64, NULL, plain,
			len, stored, &xz_len, sizeof stored),
		    LZMA_OK);
		return xz_len;
	}
}

/* What is read must be asked for in order, and be there. */
struct reader {
	uint64_t len, next;
};

static int read_stored(
    void *arg, void *buf, size_t len, uint64_t off, struct err *e)
{
	struct reader *r = arg;

	(void)e;
	assert_int_equal(off, r->next);
	assert_true(range_ok(off, len, r->len));
	memcpy(buf, stored + off, len);
	r->next += len;
	return 0;
}

/* In pieces of up to `most` bytes; as codec_unpack(). */
static int unpack(enum codec c, size_t len, size_t stored_len, size_t most,
    struct rng *rng, struct err *e)
{
	struct reader r = {.len = stored_len};
	const struct codec_source src = {
	    .len = stored_len, .read = read_stored, .arg = &r};
	struct codec_stream *s = codec_stream_new(c, len, &src, e);
	int rc = 0;
	struct err none = ERR_INIT;
	uint8_t first;
	size_t n;

	assert_non_null(s);
	codec_stream_read(s, &first, 1, &none);
	r.next = 0; /* it begins again */
	assert_ok(codec_stream_again(s, len, &src, e), e);
	for (size_t at = 0; at < len && !rc; at += n) {
		n = min_u64(1 + rng_below(rng, most), len - at);
		rc = codec_stream_read(s, got + at, n, e);
	}
	codec_stream_free(s);
	return rc;
}

static void make_plain(struct rng *rng)
{
	rng_fill(rng, plain, sizeof plain);
	for (size_t i = 0; i < sizeof plain; i++)
		plain[i] &= i & 0x4000 ? 0x3f : 0;
}

static void pieces(void **state)
{
	static const size_t most[] = {1000, 70000, UNIT_LEN};
	struct rng rng = {.state = 1};
	struct err e = ERR_INIT;

	(void)state;
	make_plain(&rng);
	for (unsigned c = 0; c < ARRAY_N(codecs); c++) {
		size_t len = pack(codecs[c], UNIT_LEN);

		assert_true(codec_can_stream(codecs[c]));
		for (unsigned i = 0; i < ARRAY_N(most); i++) {
			memset(got, 0xee, sizeof got);
			assert_ok(
			    unpack(codecs[c], UNIT_LEN, len, most[i], &rng, &e),
			    &e);
			assert_memory_equal(got, plain, UNIT_LEN);
		}
	}
	assert_false(codec_can_stream(CODEC_LZFSE));
	assert_false(codec_can_stream(CODEC_NONE));
}

/* The same verdict as of the whole unit. */
static void compare(
    enum codec c, size_t unit_len, size_t stored_len, struct rng *rng)
{
	struct err e = ERR_INIT, other = ERR_INIT;
	int want = codec_unpack(c, whole, unit_len, stored, stored_len, &e);

	assert_int_equal(
	    unpack(c, unit_len, stored_len, 50000, rng, &other), want);
	if (!want) /* perhaps not what was packed: zlib's sum comes last */
		assert_memory_equal(got, whole, unit_len);
	else
		assert_int_equal(other.kind, ERR_DAMAGED);
}

static void damaged(void **state)
{
	struct rng rng = {.state = 2};

	(void)state;
	make_plain(&rng);
	for (unsigned c = 0; c < ARRAY_N(codecs); c++) {
		size_t len = pack(codecs[c], UNIT_LEN);

		compare(codecs[c], UNIT_LEN - 1, len, &rng);
		compare(codecs[c], 1, len, &rng);
		memset(stored + len, 0, 100);
		compare(codecs[c], UNIT_LEN, len + 100, &rng);
		for (unsigned i = 1; i < 20; i++)
			compare(codecs[c], UNIT_LEN, len - i, &rng);
		compare(codecs[c], UNIT_LEN, 1, &rng);
		for (unsigned i = 0; i < DAMAGES; i++) {
			uint64_t at =
			    i < 20 ? len - 1 - i : rng_below(&rng, len);
			uint8_t old = stored[at];

			stored[at] ^= (uint8_t)(1 + rng_below(&rng, 255));
			compare(codecs[c], UNIT_LEN, len, &rng);
			stored[at] = old;
		}
		/* A stream that has less than the unit. */
		len = pack(codecs[c], UNIT_LEN / 2);
		compare(codecs[c], UNIT_LEN, len, &rng);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(pieces),
	    cmocka_unit_test(damaged),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
