/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Headers of LZFSE blocks: see lzfse_block.h.  All numbers are little-endian.
 *
 * "bvx1": after the magic, 32 bits each: the bytes of the unpacked block, of
 * the payload; the literals, the triples; the payload bytes of either; minus
 * the unused bits of the literals; 16 bits each: four states; minus the unused
 * bits of the triples; the states of L, M and D; then all frequencies.
 *
 * "bvx2": the same in fewer bits; see the table below.  The frequencies follow
 * in a code of 2 to 14 bits each.
 */
#include "../core/units.h"
#include "lzfse_block.h"

#define V1_LEN (46u + 2u * LZFSE_SYMBOLS) /* without the magic */
#define V2_LEN 28u /* without the magic and the frequencies */

/* Bits of a number of the header; the lowest bit is number 0. */
static uint32_t bits(const uint8_t *p, unsigned first, unsigned n)
{
	return (uint32_t)(le64(p) >> first & ((1ull << n) - 1));
}

static bool sums_up(const uint16_t *freq, unsigned n, unsigned states)
{
	unsigned sum = 0;

	while (n--)
		sum += *freq++;
	return sum == states;
}

static bool states_ok(const struct lzfse_header *h)
{
	for (unsigned i = 0; i < 4; i++)
		if (h->literal_state[i] >= LZFSE_LIT_STATES)
			return false;
	return h->l_state < LZFSE_L_STATES && h->m_state < LZFSE_M_STATES &&
	       h->d_state < LZFSE_D_STATES;
}

static const char *check(const struct lzfse_header *h)
{
	const uint16_t *f = h->freq;

	if (h->literals > LZFSE_LITERALS_MAX || h->literals % 4 ||
	    h->triples > LZFSE_TRIPLES_MAX)
		return "a block has too many literals or matches";
	if (h->literal_skip > 7 || h->triple_skip > 7 || !states_ok(h))
		return "a block has a wrong state";
	if (!sums_up(f, LZFSE_L_SYMBOLS, LZFSE_L_STATES))
		return "frequencies of literal lengths are wrong";
	f += LZFSE_L_SYMBOLS;
	if (!sums_up(f, LZFSE_M_SYMBOLS, LZFSE_M_STATES))
		return "frequencies of match lengths are wrong";
	f += LZFSE_M_SYMBOLS;
	if (!sums_up(f, LZFSE_D_SYMBOLS, LZFSE_D_STATES))
		return "frequencies of distances are wrong";
	f += LZFSE_D_SYMBOLS;
	if (!sums_up(f, LZFSE_LIT_SYMBOLS, LZFSE_LIT_STATES))
		return "frequencies of literals are wrong";
	return NULL;
}

const char *lzfse_header_v1(struct lzfse_header *h, struct lz_in *in)
{
	const uint8_t *p = in->p;

	if (in->left < V1_LEN)
		return "a block header is cut";
	h->raw_len = le32(p);
	h->literals = le32(p + 8);
	h->triples = le32(p + 12);
	h->literal_len = le32(p + 16);
	h->triple_len = le32(p + 20);
	h->literal_skip = -le32(p + 24);
	for (unsigned i = 0; i < 4; i++)
		h->literal_state[i] = le16(p + 28 + 2 * i);
	h->triple_skip = -le32(p + 36);
	h->l_state = le16(p + 40);
	h->m_state = le16(p + 42);
	h->d_state = le16(p + 44);
	for (unsigned i = 0; i < LZFSE_SYMBOLS; i++)
		h->freq[i] = le16(p + 46 + 2 * i);
	in->p += V1_LEN;
	in->left -= V1_LEN;
	return check(h);
}

/*
 * One frequency from the low bits of `code`; *n: how many of them.
 * 00: 0, 10: 1, 001: 2, 101: 3, xx011: 4 + x, xxxx0111: 8 + x,
 * and ten bits x before 1111: 24 + x.
 */
static unsigned frequency(uint32_t code, unsigned *n)
{
	switch (code & 7) {
	case 0:
	case 4:
		*n = 2;
		return 0;
	case 2:
	case 6:
		*n = 2;
		return 1;
	case 1:
		*n = 3;
		return 2;
	case 5:
		*n = 3;
		return 3;
	case 3:
		*n = 5;
		return 4 + (code >> 3 & 3);
	default:
		*n = code & 8 ? 14 : 8;
		return code & 8 ? 24 + (code >> 4 & 0x3ff)
				: 8 + (code >> 4 & 15);
	}
}

/* All of the bytes must be used. */
static bool read_frequencies(uint16_t *freq, const uint8_t *p, size_t len)
{
	const uint8_t *end = p + len;
	uint32_t code = 0;
	unsigned have = 0, n;

	for (unsigned i = 0; i < LZFSE_SYMBOLS; i++) {
		for (; have <= 24 && p < end; have += 8)
			code |= (uint32_t)*p++ << have;
		freq[i] = (uint16_t)frequency(code, &n);
		if (n > have)
			return false;
		code >>= n;
		have -= n;
	}
	return p == end && have < 8;
}

const char *lzfse_header_v2(struct lzfse_header *h, struct lz_in *in)
{
	const uint8_t *p = in->p;
	uint32_t len;

	if (in->left < V2_LEN)
		return "a block header is cut";
	h->raw_len = le32(p);
	h->literals = bits(p + 4, 0, 20);
	h->literal_len = bits(p + 4, 20, 20);
	h->triples = bits(p + 4, 40, 20);
	h->literal_skip = 7 - bits(p + 4, 60, 3);
	for (unsigned i = 0; i < 4; i++)
		h->literal_state[i] = (uint16_t)bits(p + 12, 10 * i, 10);
	h->triple_len = bits(p + 12, 40, 20);
	h->triple_skip = 7 - bits(p + 12, 60, 3);
	len = bits(p + 20, 0, 32);
	h->l_state = (uint16_t)bits(p + 20, 32, 10);
	h->m_state = (uint16_t)bits(p + 20, 42, 10);
	h->d_state = (uint16_t)bits(p + 20, 52, 10);
	if (len < V2_LEN + 4 || len - 4 > in->left ||
	    !read_frequencies(h->freq, p + V2_LEN, len - 4 - V2_LEN))
		return "frequencies are cut, or go on";
	in->p += len - 4;
	in->left -= len - 4;
	return check(h);
}
