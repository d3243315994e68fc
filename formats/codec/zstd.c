/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Zstandard (RFC 8878): one frame a unit when we write.  A reader takes as
 * many whole frames as fill the unit, and ignores what follows them.
 */
#include <errno.h>
#include <stdlib.h>

#include "config.h"

#include "codec_impl.h"

#ifdef HAVE_ZSTD
#include <zstd.h>
#include <zstd_errors.h>

#define LEVEL_MAX 19 /* above, the library wants far more memory */

static void *zstd_pack_new(int level, struct err *e)
{
	ZSTD_CCtx *x = ZSTD_createCCtx();

	if (!x || ZSTD_isError(ZSTD_CCtx_setParameter(
		      x, ZSTD_c_compressionLevel, level))) {
		ZSTD_freeCCtx(x);
		err_nomem(e);
		return NULL;
	}
	return x;
}

static void zstd_pack_free(void *state)
{
	ZSTD_freeCCtx(state);
}

static ssize_t zstd_pack(void *state, void *dst, size_t dst_len,
    const void *src, size_t len, struct err *e)
{
	size_t n = ZSTD_compress2(state, dst, dst_len, src, len);

	if (!ZSTD_isError(n))
		return (ssize_t)n;
	switch (ZSTD_getErrorCode(n)) {
	case ZSTD_error_dstSize_tooSmall:
		return 0;
	case ZSTD_error_memory_allocation:
		return err_nomem(e);
	default:
		return err_set(e, ERR_SYSTEM, EIO, "zstd: compress: %s",
		    ZSTD_getErrorName(n));
	}
}

static void *zstd_unpack_new(struct err *e)
{
	ZSTD_DCtx *x = ZSTD_createDCtx();

	if (!x)
		err_nomem(e);
	return x;
}

static void zstd_unpack_free(void *state)
{
	ZSTD_freeDCtx(state);
}

/* The bytes that the frame at src unpacks to, or an error of the library. */
static size_t unpack_frame(ZSTD_DCtx *x, void *dst, size_t len, const void *src,
    size_t stored, size_t *used)
{
	*used = ZSTD_findFrameCompressedSize(src, stored);
	if (ZSTD_isError(*used))
		return *used;
	return ZSTD_decompressDCtx(x, dst, len, src, *used);
}

static int zstd_unpack(void *state, void *dst, size_t len, const void *src,
    size_t stored, struct err *e)
{
	const char *in = src;
	char *out = dst;
	size_t left = stored, want = len, n, used;

	while (want) {
		n = unpack_frame(state, out, want, in, left, &used);
		if (ZSTD_isError(n))
			return err_set(e, ERR_DAMAGED, EIO,
			    "zstd: %zu stored bytes unpack to %zu bytes, %zu "
			    "wanted: %s",
			    stored, len - want, len, ZSTD_getErrorName(n));
		in += used;
		left -= used;
		out += n;
		want -= n;
	}
	return 0;
}

const struct codec_impl zstd_codec = {
    .name = "zstd",
    .level_max = LEVEL_MAX,
    .pack_new = zstd_pack_new,
    .pack_free = zstd_pack_free,
    .pack = zstd_pack,
    .unpack_new = zstd_unpack_new,
    .unpack_free = zstd_unpack_free,
    .unpack = zstd_unpack,
};

#else

const struct codec_impl zstd_codec = {.name = "zstd"};

#endif
