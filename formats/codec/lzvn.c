/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * LZVN, the simpler of the two compressions inside LZFSE streams.
 *
 * A sequence of codes of one to three bytes: L bytes that follow the code as
 * they are, then a match of M bytes at a distance D.  L, M and D stand for
 * their bits, the high ones first:
 *
 *   LLMMMDDD DDDDDDDD           L, M + 3, D           (DDD is not 110, 111)
 *   LLMMM110                    L, M + 3, D as before
 *   LLMMM111 dddddddd DDDDDDDD  L, M + 3, D with its low byte first
 *   101LLMMM ddddddmm DDDDDDDD  L, M + 3 (mm: its low bits), D (the same)
 *   1110LLLL, 11100000 LLLLLLLL  L, or L + 16; no match
 *   1111MMMM, 11110000 MMMMMMMM  M, or M + 16; D as before
 *   00001110, 00010110          nothing
 *   00000110                    the end
 *
 * Other codes whose low bits are 110 in the first sixty-four, 0111xxxx and
 * 1101xxxx are not defined.
 */
#include "lzvn.h"

struct code {
	unsigned len; /* of the code itself */
	size_t literals, match;
	size_t distance; /* 0: as before */
	bool end;
};

/* 101LLMMM ddddddmm DDDDDDDD */
static bool read_medium(const uint8_t *p, struct code *c)
{
	c->len = 3;
	c->literals = p[0] >> 3 & 3;
	c->match = ((p[0] & 7u) << 2 | (p[1] & 3u)) + 3;
	c->distance = (size_t)p[2] << 6 | p[1] >> 2;
	return c->distance;
}

/* 1110LLLL and 1111MMMM */
static bool read_run(const uint8_t *p, struct code *c)
{
	size_t n = p[0] & 15;

	c->len = n ? 1 : 2;
	if (!n)
		n = p[1] + 16u;
	if (p[0] & 16)
		c->match = n;
	else
		c->literals = n;
	return true;
}

/* LLMMMxxx */
static bool read_short(const uint8_t *p, struct code *c)
{
	c->literals = p[0] >> 6;
	c->match = (p[0] >> 3 & 7u) + 3;
	switch (p[0] & 7) {
	case 6:
		c->len = 1;
		return c->literals;
	case 7:
		c->len = 3;
		c->distance = (size_t)p[2] << 8 | p[1];
		return c->distance;
	default:
		c->len = 2;
		c->distance = (p[0] & 7u) << 8 | p[1];
		return c->distance;
	}
}

/* p has three bytes.  False: not defined. */
static bool read_code(const uint8_t *p, struct code *c)
{
	*c = (struct code){.len = 1};
	switch (p[0]) {
	case 0x06:
		c->end = true;
		return true;
	case 0x0e:
	case 0x16:
		return true;
	}
	switch (p[0] >> 4) {
	case 0x7:
	case 0xd:
		return false;
	case 0xa:
	case 0xb:
		return read_medium(p, c);
	case 0xe:
	case 0xf:
		return read_run(p, c);
	default:
		return read_short(p, c);
	}
}

bool lzvn_unpack(struct lz_out *o, struct lz_in *in)
{
	size_t distance = 0;

	for (;;) {
		uint8_t bytes[3] = {0};
		struct code c;

		memcpy(bytes, in->p, in->left < 3 ? in->left : 3);
		if (!read_code(bytes, &c) || c.len > in->left)
			return false;
		if (c.end)
			return true;
		in->p += c.len;
		in->left -= c.len;
		if (c.distance)
			distance = c.distance;
		if (!lz_copy_in(o, in, c.literals) ||
		    (c.match && !lz_match(o, c.match, distance)))
			return false;
	}
}
