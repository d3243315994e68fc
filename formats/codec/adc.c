/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Apple Data Compression, of old disk images; unpacked only.
 *
 * A sequence of codes; the first byte tells which one:
 *   1nnnnnnn                    n + 1 bytes follow, as they are
 *   00nnnndd dddddddd           n + 3 bytes from d + 1 before
 *   01nnnnnn dddddddd dddddddd  n + 4 bytes from d + 1 before
 */
#include "lz.h"

static bool one_code(struct lz_in *in, struct lz_out *o)
{
	const uint8_t *p = in->p;
	unsigned first = p[0], code_len = first & 0x40 ? 3 : 2;

	if (first & 0x80) {
		in->p++;
		in->left--;
		return lz_copy_in(o, in, (first & 0x7f) + 1);
	}
	if (in->left < code_len)
		return false;
	in->p += code_len;
	in->left -= code_len;
	if (code_len == 3)
		return lz_match(
		    o, (first & 0x3f) + 4, ((unsigned)p[1] << 8 | p[2]) + 1);
	return lz_match(o, (first >> 2) + 3, ((first & 3) << 8 | p[1]) + 1);
}

static int adc_unpack(void *state, void *dst, size_t len, const void *src,
    size_t stored, struct err *e)
{
	struct lz_in in = {.p = src, .left = stored};
	struct lz_out out = {.buf = dst, .len = len};

	(void)state;
	while (out.pos < len) {
		if (!in.left)
			return lz_bad("adc", &out, stored, "stream is cut", e);
		if (!one_code(&in, &out))
			return lz_bad("adc", &out, stored,
			    "a code leaves the stream or the output", e);
	}
	return 0;
}

const struct codec_impl adc_codec = {
    .name = "adc",
    .unpack_new = codec_no_state,
    .unpack_free = codec_no_state_free,
    .unpack = adc_unpack,
};
