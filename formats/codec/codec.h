/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Compression of stored units: one call to pack, one to unpack.
 *
 * A unit is packed and unpacked whole.  The state that a library wants to keep
 * between calls lives in a struct codec_ctx, which belongs to one thread at a
 * time.
 */
#ifndef IMGD_CODEC_H
#define IMGD_CODEC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "../core/err.h"

enum codec {
	CODEC_NONE = 0,
	CODEC_DEFLATE, /* RFC 1951, raw; window of 4 KiB when we write */
	CODEC_ZSTD,    /* RFC 8878, one frame a unit                   */
	CODEC_ZLIB,    /* RFC 1950                                     */
	CODEC_BZIP2,   /* this and what follows: unpacked only         */
	CODEC_XZ,
	CODEC_ADC, /* Apple Data Compression */
	CODEC_LZFSE,
};

/* The largest unit that pack and unpack take, bytes. */
#define CODEC_UNIT_MAX (64u << 20)

struct codec_ctx;

/* "zlib", "zstd": the name that users write.  NULL for CODEC_NONE. */
const char *codec_name(enum codec c);
/* Was this build made with it? */
bool codec_available(enum codec c);

/* A level that is asked for: 1 to what this codec has (see codec_ctx_new). */
int codec_check_level(enum codec c, uint64_t level, struct err *e);

/*
 * level 0: the default; other levels as the library counts them (zlib 1..9,
 * zstd 1..19).  NULL with *e set on failure or when not built in.
 */
struct codec_ctx *codec_ctx_new(enum codec c, int level, struct err *e);
void codec_ctx_free(struct codec_ctx *x); /* NULL is allowed */

/*
 * Room in which CODEC_ZLIB can pack any `len` bytes: what does not shrink is
 * stored, in blocks with a header each.
 */
static inline size_t codec_bound(size_t len)
{
	return len + 5 * (len / 65535 + 1) + 6;
}
/* Does what was unpacked have the sum at the end of its CODEC_ZLIB stream, of
 * exactly `stored` bytes?  codec_unpack() also takes streams that go on. */
bool codec_zlib_whole(
    const void *unpacked, size_t len, const void *src, size_t stored);
/*
 * Pack `len` bytes of src into dst.  Returns the packed length, or 0 when it
 * does not fit in dst_len (then store the unit unpacked), or -1.
 */
ssize_t codec_pack(struct codec_ctx *x, void *dst, size_t dst_len,
    const void *src, size_t len, struct err *e);
/*
 * Unpack into exactly `len` bytes.  `stored` may be longer than the packed
 * data (formats round it up); what follows the end of the stream is ignored.
 * Fewer than `len` bytes, or a bad stream: -1, ERR_DAMAGED with EIO.
 * Thread-safe.
 */
int codec_unpack(enum codec c, void *dst, size_t len, const void *src,
    size_t stored, struct err *e);

/*
 * The same piece by piece, from the start of the unit on, for units that are
 * too long to be held in memory.  The stored bytes are asked for as they are
 * needed; the last piece fails where codec_unpack() would fail for what
 * follows it.  One thread at a time.
 */
struct codec_stream;
struct codec_source {
	uint64_t len; /* stored bytes */
	int (*read)(
	    void *arg, void *buf, size_t len, uint64_t off, struct err *e);
	void *arg;
};

bool codec_can_stream(enum codec c);
/* Of a unit of `len` bytes, with a codec that can do it. */
struct codec_stream *codec_stream_new(
    enum codec c, uint64_t len, const struct codec_source *src, struct err *e);
void codec_stream_free(struct codec_stream *s); /* NULL is allowed */
/* The same for another unit of this codec, or from the start again; also after
 * a failure.  Keeps the memory that it has. */
int codec_stream_again(struct codec_stream *s, uint64_t len,
    const struct codec_source *src, struct err *e);
/* The next `len` bytes of the unit, which has so many.  A stream that has
 * failed can only begin again. */
int codec_stream_read(
    struct codec_stream *s, void *buf, size_t len, struct err *e);

#endif
