/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The blocks of an LZFSE stream that are entropy coded ("bvx1" and "bvx2").
 *
 * A block has literals, and triples of numbers: L literals to copy, then a
 * match of M bytes at a distance D (0: as before).  Both are coded with finite
 * state entropy, a code whose decoder moves from state to state: the state
 * tells the symbol, and how many bits to read to get to the next state.  The
 * bits are read from the end of the payload to its start.
 */
#ifndef IMGD_LZFSE_BLOCK_H
#define IMGD_LZFSE_BLOCK_H

#include "lz.h"

enum { LZFSE_L_SYMBOLS = 20, LZFSE_M_SYMBOLS = 20, LZFSE_D_SYMBOLS = 64 };
enum { LZFSE_L_STATES = 64, LZFSE_M_STATES = 64, LZFSE_D_STATES = 256 };
enum { LZFSE_LIT_SYMBOLS = 256, LZFSE_LIT_STATES = 1024 };
enum {
	LZFSE_LITERALS_MAX = 40000, /* of a block */
	LZFSE_TRIPLES_MAX = 10000,
	LZFSE_SYMBOLS = LZFSE_L_SYMBOLS + LZFSE_M_SYMBOLS + LZFSE_D_SYMBOLS +
			LZFSE_LIT_SYMBOLS,
};

/* What both kinds of header say. */
struct lzfse_header {
	uint32_t raw_len; /* bytes when unpacked */
	uint32_t literals, triples;
	uint32_t literal_len, triple_len;   /* payload bytes, in this order */
	unsigned literal_skip, triple_skip; /* unused bits at their ends */
	uint16_t literal_state[4], l_state, m_state, d_state;
	uint16_t freq[LZFSE_SYMBOLS]; /* of L, M, D, literals */
};

struct lzfse_symbol { /* of literals */
	uint8_t bits, symbol;
	int16_t delta;
};

struct lzfse_value { /* of numbers: base + the number in `more` bits */
	uint8_t bits, more;
	int16_t delta;
	uint32_t base;
};

/* What a decoder needs besides; about 48 KiB. */
struct lzfse_space {
	struct lzfse_header h;
	struct lzfse_symbol literal[LZFSE_LIT_STATES];
	struct lzfse_value l[LZFSE_L_STATES], m[LZFSE_M_STATES],
	    d[LZFSE_D_STATES];
	uint8_t bytes[LZFSE_LITERALS_MAX];
};

/*
 * Read and check the header, its four bytes of magic read already.  NULL, or
 * what is wrong.
 */
const char *lzfse_header_v1(struct lzfse_header *h, struct lz_in *in);
const char *lzfse_header_v2(struct lzfse_header *h, struct lz_in *in);
/* The payload that follows; the same. */
const char *lzfse_block(
    struct lzfse_space *s, struct lz_out *o, struct lz_in *in);

#endif
