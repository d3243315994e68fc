/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What one codec implements.  Only codec.c calls these; it has checked the
 * lengths, and gives each state to one thread at a time.
 */
#ifndef IMGD_CODEC_IMPL_H
#define IMGD_CODEC_IMPL_H

#include "codec.h"

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
};

extern const struct codec_impl deflate_codec, zlib_codec, zstd_codec,
    bzip2_codec, xz_codec, adc_codec, lzfse_codec;

/* unpack_new and unpack_free of a codec that keeps nothing between calls. */
void *codec_no_state(struct err *e);
void codec_no_state_free(void *state);

#endif
