/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What one codec implements.  Only codec.c calls these; it has checked the
 * lengths, and gives each state to one thread at a time.
 */
#ifndef IMGD_CODEC_IMPL_H
#define IMGD_CODEC_IMPL_H

#include "codec.h"

/* What a stream may take, and where it puts what comes of it. */
struct codec_io {
	const uint8_t *in;
	size_t in_len;
	uint8_t *out;
	size_t out_len;
	bool last; /* no input follows */
};

struct codec_impl {
	const char *name;
	int level_max;
	void *(*pack_new)(int level, struct err *e); /* NULL: cannot pack */
	void (*pack_free)(void *state);
	ssize_t (*pack)(void *state, void *dst, size_t dst_len, const void *src,
	    size_t len, struct err *e);
	void *(*unpack_new)(struct err *e); /* NULL: not built in */
	void (*unpack_free)(void *state);
	int (*unpack)(void *state, void *dst, size_t len, const void *src,
	    size_t stored, struct err *e);

	/* NULL: it cannot unpack piece by piece. */
	void *(*stream_new)(struct err *e);
	int (*stream_again)(void *state, struct err *e); /* from the start */
	void (*stream_free)(void *state);
	/* Move on in *io.  1: the end of the stream; 0: more input or room, or
	 * it is cut; -1: bad, *why says how, or NULL: out of memory. */
	int (*stream_step)(void *state, struct codec_io *io, const char **why);
	bool ends_with_unit; /* a stream that goes on is bad */
};

const struct codec_impl *codec_impl_of(enum codec c);

extern const struct codec_impl deflate_codec, zlib_codec, zstd_codec,
    bzip2_codec, xz_codec, adc_codec, lzfse_codec;

/* unpack_new and unpack_free of a codec that keeps nothing between calls. */
void *codec_no_state(struct err *e);
void codec_no_state_free(void *state);

#endif
