/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Raw deflate (RFC 1951) and zlib's streams (RFC 1950).
 *
 * Packing: readers of qcow2 keep a window of 4 KiB, so no distance may be
 * longer.  ISA-L packs when no level is asked for, at its level 2: some 11
 * times as fast as zlib's default for 4 to 10 % more bytes.  A level is zlib's.
 *
 * Unpacking: libdeflate first, since it is more than twice as fast.  What it
 * refuses goes to zlib, whose verdict counts: it also takes a stream that
 * fills the unit and then goes on or is cut, as other readers do.
 */
#include <errno.h>
#include <stdlib.h>
#include <zlib.h>

#include "config.h"

#ifdef HAVE_LIBDEFLATE
#include <libdeflate.h>
#endif

#include "../core/cleanup.h"
#include "../core/units.h"
#include "codec_impl.h"
#include "isal.h"

#define PACK_MEM_LEVEL 9

static int zlib_failed(int rc, const char *what, struct err *e)
{
	if (rc == Z_MEM_ERROR)
		return err_nomem(e);
	return err_set(e, ERR_SYSTEM, EIO, "zlib: %s: %s", what, zError(rc));
}

/* ---- packing ---------------------------------------------------------- */

struct packer {
	z_stream z;
	struct isal_packer *isal; /* NULL: zlib packs */
};

static void *deflate_pack_new(int level, struct err *e)
{
	CLEANUP_FREE struct packer *p = calloc(1, sizeof *p);
	int rc;

	if (!p) {
		err_nomem(e);
		return NULL;
	}
#ifdef HAVE_ISAL
	if (!level) {
		p->isal = isal_packer_new(e);
		return p->isal ? take(p) : NULL;
	}
#endif
	rc = deflateInit2(&p->z, level ? level : Z_DEFAULT_COMPRESSION,
	    Z_DEFLATED, -DEFLATE_WINDOW_BITS, PACK_MEM_LEVEL,
	    Z_DEFAULT_STRATEGY);
	if (rc != Z_OK) {
		zlib_failed(rc, "deflateInit2", e);
		return NULL;
	}
	return take(p);
}

static void deflate_pack_free(void *state)
{
	struct packer *p = state;

#ifdef HAVE_ISAL
	isal_packer_free(p->isal);
#endif
	deflateEnd(&p->z); /* does nothing when it was never begun */
	free(p);
}

static ssize_t deflate_pack(void *state, void *dst, size_t dst_len,
    const void *src, size_t len, struct err *e)
{
	struct packer *p = state;
	int rc;

#ifdef HAVE_ISAL
	if (p->isal)
		return isal_pack(p->isal, dst, dst_len, src, len, e);
#endif
	deflateReset(&p->z);
	p->z.next_in = (Bytef *)src;
	p->z.avail_in = (uInt)len;
	p->z.next_out = dst;
	p->z.avail_out = (uInt)min_u64(dst_len, CODEC_UNIT_MAX * 2);
	rc = deflate(&p->z, Z_FINISH);
	if (rc == Z_STREAM_END)
		return (ssize_t)p->z.total_out;
	if (rc == Z_OK || rc == Z_BUF_ERROR)
		return 0;
	return zlib_failed(rc, "deflate", e);
}

/* ---- zlib's streams ----------------------------------------------------- */

#define ZLIB_HEAD     0x7801u /* a window of 32 KiB at most, no dictionary */
#define ZLIB_HEAD_LEN 2u
#define ZLIB_TAIL_LEN 4u
#define STORED_MAX    65535u /* bytes of a block that is not packed */
#define STORED_HEAD   5u

static uint32_t checksum(const void *src, size_t len)
{
#ifdef HAVE_LIBDEFLATE
	return libdeflate_adler32(1, src, len);
#else
	return (uint32_t)adler32(1, src, (uInt)len);
#endif
}

bool codec_zlib_whole(
    const void *unpacked, size_t len, const void *src, size_t stored)
{
	const uint8_t *tail = (const uint8_t *)src + stored - ZLIB_TAIL_LEN;

	return stored > ZLIB_TAIL_LEN && be32(tail) == checksum(unpacked, len);
}

/* Blocks that are not packed; 0: they do not fit. */
static size_t store_blocks(
    uint8_t *dst, size_t dst_len, const uint8_t *src, size_t len)
{
	size_t n = div_up(len, STORED_MAX), total = len + n * STORED_HEAD;

	if (total > dst_len)
		return 0;
	while (len) {
		size_t part = min_u64(len, STORED_MAX);

		*dst = part == len; /* the last one */
		put_le16(dst + 1, (uint16_t)part);
		put_le16(dst + 3, (uint16_t)~part);
		memcpy(dst + STORED_HEAD, src, part);
		dst += STORED_HEAD + part;
		src += part;
		len -= part;
	}
	return total;
}

static ssize_t zlib_pack(void *state, void *dst, size_t dst_len,
    const void *src, size_t len, struct err *e)
{
	uint8_t *p = dst;
	ssize_t n;

	if (dst_len <= ZLIB_HEAD_LEN + ZLIB_TAIL_LEN)
		return 0;
	dst_len -= ZLIB_HEAD_LEN + ZLIB_TAIL_LEN;
	n = deflate_pack(
	    state, p + ZLIB_HEAD_LEN, min_u64(dst_len, len), src, len, e);
	if (!n)
		n = (ssize_t)store_blocks(p + ZLIB_HEAD_LEN, dst_len, src, len);
	if (n <= 0)
		return n;
	put_be16(p, ZLIB_HEAD);
	put_be32(p + ZLIB_HEAD_LEN + n, checksum(src, len));
	return n + (ssize_t)(ZLIB_HEAD_LEN + ZLIB_TAIL_LEN);
}

/* ---- unpacking -------------------------------------------------------- */

struct unpacker {
	z_stream z;
	int window_bits; /* negative: raw deflate */
	bool z_begun;
#ifdef HAVE_LIBDEFLATE
	struct libdeflate_decompressor *fast;
#endif
};

static void unpack_free(void *state)
{
	struct unpacker *u = state;

	inflateEnd(&u->z);
#ifdef HAVE_LIBDEFLATE
	if (u->fast)
		libdeflate_free_decompressor(u->fast);
#endif
	free(u);
}

static void *unpack_new(int window_bits, struct err *e)
{
	struct unpacker *u = calloc(1, sizeof *u);

	if (!u) {
		err_nomem(e);
		return NULL;
	}
	u->window_bits = window_bits;
#ifdef HAVE_LIBDEFLATE
	u->fast = libdeflate_alloc_decompressor();
	if (!u->fast) {
		err_nomem(e);
		unpack_free(u);
		return NULL;
	}
#endif
	return u;
}

static void *deflate_unpack_new(struct err *e)
{
	return unpack_new(-MAX_WBITS, e);
}

static void *zlib_unpack_new(struct err *e)
{
	return unpack_new(MAX_WBITS, e);
}

static int zlib_begin(struct unpacker *u, struct err *e)
{
	int rc = u->z_begun ? inflateReset(&u->z)
			    : inflateInit2(&u->z, u->window_bits);

	if (rc != Z_OK)
		return zlib_failed(rc, "inflateInit2", e);
	u->z_begun = true;
	return 0;
}

static bool unpack_fast(
    struct unpacker *u, void *dst, size_t len, const void *src, size_t stored)
{
#ifdef HAVE_LIBDEFLATE
	size_t used, got = 0;
	enum libdeflate_result rc =
	    u->window_bits < 0 ? libdeflate_deflate_decompress_ex(u->fast, src,
				     stored, dst, len, &used, &got)
			       : libdeflate_zlib_decompress_ex(u->fast, src,
				     stored, dst, len, &used, &got);

	return rc == LIBDEFLATE_SUCCESS && got == len;
#else
	(void)u, (void)dst, (void)len, (void)src, (void)stored;
	return false;
#endif
}

static int deflate_unpack(void *state, void *dst, size_t len, const void *src,
    size_t stored, struct err *e)
{
	struct unpacker *u = state;
	int rc;

	if (unpack_fast(u, dst, len, src, stored))
		return 0;
	if (zlib_begin(u, e) < 0)
		return -1;
	u->z.next_in = (Bytef *)src;
	u->z.avail_in = (uInt)stored;
	u->z.next_out = dst;
	u->z.avail_out = (uInt)len;
	rc = inflate(&u->z, Z_FINISH);
	if (!u->z.avail_out && (rc == Z_STREAM_END || rc == Z_BUF_ERROR))
		return 0;
	if (rc == Z_MEM_ERROR)
		return err_nomem(e);
	return err_set(e, ERR_DAMAGED, EIO,
	    "deflate: %zu stored bytes unpack to %zu bytes, %zu wanted: %s",
	    stored, len - u->z.avail_out, len,
	    u->z.msg		? u->z.msg
	    : rc == Z_BUF_ERROR ? "stream is cut"
				: "stream ends early");
}

/* ---- piece by piece ---------------------------------------------------- */

static void *stream_new(int window_bits, struct err *e)
{
	z_stream *z = calloc(1, sizeof *z);

	if (z && inflateInit2(z, window_bits) == Z_OK)
		return z;
	free(z);
	err_nomem(e);
	return NULL;
}

static void *deflate_stream_new(struct err *e)
{
	return stream_new(-MAX_WBITS, e);
}

static void *zlib_stream_new(struct err *e)
{
	return stream_new(MAX_WBITS, e);
}

static int stream_again(void *state, struct err *e)
{
	int rc = inflateReset(state);

	return rc == Z_OK ? 0 : zlib_failed(rc, "inflateReset", e);
}

static void stream_free(void *state)
{
	inflateEnd(state);
	free(state);
}

static int stream_step(void *state, struct codec_io *io, const char **why)
{
	z_stream *z = state;
	int rc;

	z->next_in = (Bytef *)io->in;
	z->avail_in = (uInt)io->in_len;
	z->next_out = io->out;
	z->avail_out = (uInt)io->out_len;
	rc = inflate(z, Z_NO_FLUSH);
	io->in = z->next_in;
	io->in_len = z->avail_in;
	io->out = z->next_out;
	io->out_len = z->avail_out;
	if (rc == Z_OK || rc == Z_BUF_ERROR || rc == Z_STREAM_END)
		return rc == Z_STREAM_END;
	*why = z->msg ? z->msg : "it needs a dictionary";
	if (rc == Z_MEM_ERROR)
		*why = NULL;
	return -1;
}

const struct codec_impl deflate_codec = {
    .name = "zlib",
    .level_max = Z_BEST_COMPRESSION,
    .pack_new = deflate_pack_new,
    .pack_free = deflate_pack_free,
    .pack = deflate_pack,
    .unpack_new = deflate_unpack_new,
    .unpack_free = unpack_free,
    .unpack = deflate_unpack,
    .stream_new = deflate_stream_new,
    .stream_again = stream_again,
    .stream_free = stream_free,
    .stream_step = stream_step,
};

const struct codec_impl zlib_codec = {
    .name = "zlib",
    .level_max = Z_BEST_COMPRESSION,
    .pack_new = deflate_pack_new,
    .pack_free = deflate_pack_free,
    .pack = zlib_pack,
    .unpack_new = zlib_unpack_new,
    .unpack_free = unpack_free,
    .unpack = deflate_unpack,
    .stream_new = zlib_stream_new,
    .stream_again = stream_again,
    .stream_free = stream_free,
    .stream_step = stream_step,
};
