/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What decoders of the Lempel-Ziv family write to: a buffer of the length that
 * is wanted, which is the history of its own matches.  False, and nothing is
 * written, when a copy would leave it.
 */
#ifndef IMGD_LZ_H
#define IMGD_LZ_H

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "codec_impl.h"

struct lz_out {
	uint8_t *buf;
	size_t len, pos;
};

/* Bytes of the stored stream that were not read yet. */
struct lz_in {
	const uint8_t *p;
	size_t left;
};

static inline bool lz_literals(struct lz_out *o, const uint8_t *src, size_t n)
{
	if (n > o->len - o->pos)
		return false;
	memcpy(o->buf + o->pos, src, n);
	o->pos += n;
	return true;
}

/* The next n bytes of the stream are n bytes of the output. */
static inline bool lz_copy_in(struct lz_out *o, struct lz_in *in, size_t n)
{
	if (n > in->left || !lz_literals(o, in->p, n))
		return false;
	in->p += n;
	in->left -= n;
	return true;
}

/* n bytes as they are `distance` before; they may overlap what they make. */
static inline bool lz_match(struct lz_out *o, size_t n, size_t distance)
{
	uint8_t *to = o->buf + o->pos;
	const uint8_t *from;

	if (!distance || distance > o->pos || n > o->len - o->pos)
		return false;
	from = to - distance;
	o->pos += n;
	if (distance >= n) {
		memcpy(to, from, n);
		return true;
	}
	while (n--)
		*to++ = *from++;
	return true;
}

/* -1: the stream of that codec is bad, for that reason. */
static inline int lz_bad(const char *codec, const struct lz_out *o,
    size_t stored, const char *why, struct err *e)
{
	return err_set(e, ERR_DAMAGED, EIO,
	    "%s: %zu stored bytes unpack to %zu bytes, %zu wanted: %s", codec,
	    stored, o->pos, o->len, why);
}

#endif
