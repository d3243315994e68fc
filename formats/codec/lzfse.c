/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * LZFSE streams; unpacked only.
 *
 * A stream is a sequence of blocks, each with a magic: "bvx-" bytes as they
 * are, "bvxn" LZVN, "bvx1" and "bvx2" entropy coded (lzfse_block.h), "bvx$" the
 * end.  Matches reach into what earlier blocks made.
 */
#include <stdlib.h>

#include "../core/units.h"
#include "lzfse_block.h"
#include "lzvn.h"

#define MAGIC(c) (0x00787662u | (uint32_t)(c) << 24) /* "bvx" and c */

static void *lzfse_new(struct err *e)
{
	struct lzfse_space *s = malloc(sizeof *s);

	if (!s)
		err_nomem(e);
	return s;
}

static void lzfse_free(void *state)
{
	free(state);
}

static bool read32(struct lz_in *in, uint32_t *out)
{
	if (in->left < 4)
		return false;
	*out = le32(in->p);
	in->p += 4;
	in->left -= 4;
	return true;
}

static const char *plain_block(struct lz_out *o, struct lz_in *in)
{
	uint32_t n;

	return read32(in, &n) && lz_copy_in(o, in, n)
		   ? NULL
		   : "a block is cut, or leaves the output";
}

static const char *lzvn_block(struct lz_out *o, struct lz_in *in)
{
	uint32_t raw_len, stored;
	struct lz_out part = *o;
	struct lz_in mine;

	if (!read32(in, &raw_len) || !read32(in, &stored) ||
	    stored > in->left || raw_len > o->len - o->pos)
		return "a block is cut, or leaves the output";
	mine = (struct lz_in){.p = in->p, .left = stored};
	in->p += stored;
	in->left -= stored;
	part.len = o->pos + raw_len;
	if (!lzvn_unpack(&part, &mine) || part.pos != part.len)
		return "an LZVN block is bad";
	o->pos = part.pos;
	return NULL;
}

/* Its header is read. */
static const char *coded_block(
    struct lzfse_space *s, struct lz_out *o, struct lz_in *in)
{
	struct lz_out part = *o;
	const char *why;

	if (s->h.raw_len > o->len - o->pos)
		return "a block leaves the output";
	part.len = o->pos + s->h.raw_len;
	why = lzfse_block(s, &part, in);
	if (!why && part.pos != part.len)
		why = "a block is shorter than its header says";
	o->pos = part.pos;
	return why;
}

static const char *one_block(
    struct lzfse_space *s, struct lz_out *o, struct lz_in *in)
{
	const char *why;
	uint32_t magic;

	if (!read32(in, &magic))
		return "stream is cut";
	switch (magic) {
	case MAGIC('-'):
		return plain_block(o, in);
	case MAGIC('n'):
		return lzvn_block(o, in);
	case MAGIC('1'):
		why = lzfse_header_v1(&s->h, in);
		return why ? why : coded_block(s, o, in);
	case MAGIC('2'):
		why = lzfse_header_v2(&s->h, in);
		return why ? why : coded_block(s, o, in);
	case MAGIC('$'):
		return "stream ends early";
	default:
		return "a block of a kind that is not known";
	}
}

static int lzfse_unpack(void *state, void *dst, size_t len, const void *src,
    size_t stored, struct err *e)
{
	struct lz_in in = {.p = src, .left = stored};
	struct lz_out out = {.buf = dst, .len = len};
	const char *why;

	while (out.pos < len) {
		why = one_block(state, &out, &in);
		if (why)
			return lz_bad("lzfse", &out, stored, why, e);
	}
	return 0;
}

const struct codec_impl lzfse_codec = {
    .name = "lzfse",
    .unpack_new = lzfse_new,
    .unpack_free = lzfse_free,
    .unpack = lzfse_unpack,
};
