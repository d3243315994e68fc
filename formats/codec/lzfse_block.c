/* SPDX-License-Identifier: BSD-3-Clause */
/* The payload of an LZFSE block: see lzfse_block.h. */
#include "../core/units.h"
#include "lzfse_block.h"

/* How many more bits the number of a symbol has, and what they count from. */
static const uint8_t l_more[LZFSE_L_SYMBOLS] = {
    [16] = 2, [17] = 3, [18] = 5, [19] = 8};
static const uint8_t m_more[LZFSE_M_SYMBOLS] = {
    [16] = 3, [17] = 5, [18] = 8, [19] = 11};

/* ---- tables -------------------------------------------------------------- */

/* How the j-th of the states of a symbol with frequency f goes on. */
struct step {
	uint8_t bits;
	int16_t delta;
};

/*
 * The f states of a symbol share the `states` states to go to: the first ones
 * with k bits each, the others with a bit less.
 */
static struct step step(unsigned states, unsigned f, unsigned j)
{
	unsigned k = log2_u64(states) - log2_u64(f);
	unsigned longer = (2 * states >> k) - f;

	if (j < longer)
		return (struct step){
		    (uint8_t)k, (int16_t)(((f + j) << k) - states)};
	return (struct step){
	    (uint8_t)(k - 1), (int16_t)((j - longer) << (k - 1))};
}

static void make_literals(struct lzfse_symbol *t, const uint16_t *freq)
{
	for (unsigned s = 0; s < LZFSE_LIT_SYMBOLS; s++)
		for (unsigned j = 0; j < freq[s]; j++) {
			struct step x = step(LZFSE_LIT_STATES, freq[s], j);

			*t++ = (struct lzfse_symbol){.bits = x.bits,
			    .symbol = (uint8_t)s,
			    .delta = x.delta};
		}
}

/* Each symbol counts on where the one before it ends. */
static void make_values(struct lzfse_value *t, unsigned states,
    const uint16_t *freq, unsigned symbols, const uint8_t *more)
{
	uint32_t base = 0;

	for (unsigned s = 0; s < symbols; s++) {
		/* Of distances: four symbols of each number of bits. */
		unsigned n = more ? more[s] : s / 4;

		for (unsigned j = 0; j < freq[s]; j++) {
			struct step x = step(states, freq[s], j);

			*t++ = (struct lzfse_value){.bits = x.bits,
			    .more = (uint8_t)n,
			    .delta = x.delta,
			    .base = base};
		}
		base += 1u << n;
	}
}

static void make_tables(struct lzfse_space *s)
{
	const uint16_t *freq = s->h.freq;

	make_values(s->l, LZFSE_L_STATES, freq, LZFSE_L_SYMBOLS, l_more);
	freq += LZFSE_L_SYMBOLS;
	make_values(s->m, LZFSE_M_STATES, freq, LZFSE_M_SYMBOLS, m_more);
	freq += LZFSE_M_SYMBOLS;
	make_values(s->d, LZFSE_D_STATES, freq, LZFSE_D_SYMBOLS, NULL);
	make_literals(s->literal, freq + LZFSE_D_SYMBOLS);
}

/* ---- bits, from the end to the start ------------------------------------- */

/*
 * The next bit to read is number n - 1 of `word`; those above are used up.
 * Past the start there are zeroes, and `missing` tells of it.
 */
struct reader {
	const uint8_t *start, *p;
	uint64_t word;
	unsigned n;
	bool missing;
};

/* At least 56 bits are there then, or as many as the stream has. */
static inline void fill(struct reader *r)
{
	unsigned bytes = (63 - r->n) / 8;

	if (!bytes)
		return;
	if (r->p - r->start >= 8) {
		r->word =
		    r->word << 8 * bytes | le64(r->p - 8) >> (64 - 8 * bytes);
		r->p -= bytes;
		r->n += 8 * bytes;
		return;
	}
	for (; bytes && r->p > r->start; bytes--) {
		r->word = r->word << 8 | *--r->p;
		r->n += 8;
	}
}

static inline uint32_t take_bits(struct reader *r, unsigned n)
{
	if (n > r->n) {
		r->missing = true;
		r->n = 0;
		return 0;
	}
	r->n -= n;
	return (uint32_t)(r->word >> r->n & ((1ull << n) - 1));
}

/* `skip` bits at the end have to be zero. */
static bool reader_init(
    struct reader *r, const uint8_t *start, size_t len, unsigned skip)
{
	*r = (struct reader){.start = start, .p = start + len};
	fill(r);
	return !take_bits(r, skip) && !r->missing;
}

static inline uint8_t next_symbol(
    const struct lzfse_symbol *t, uint16_t *state, struct reader *r)
{
	const struct lzfse_symbol *x = &t[*state];

	*state = (uint16_t)(x->delta + (int)take_bits(r, x->bits));
	return x->symbol;
}

/* The bits of the next state come before those of the number. */
static inline uint32_t next_value(
    const struct lzfse_value *t, uint16_t *state, struct reader *r)
{
	const struct lzfse_value *x = &t[*state];

	*state = (uint16_t)(x->delta + (int)take_bits(r, x->bits));
	return x->base + take_bits(r, x->more);
}

/* ---- literals and triples ------------------------------------------------ */

static bool read_literals(struct lzfse_space *s, const uint8_t *payload)
{
	struct lzfse_header *h = &s->h;
	struct reader r;

	if (!reader_init(&r, payload, h->literal_len, h->literal_skip))
		return false;
	for (uint32_t i = 0; i < h->literals; i += 4) {
		fill(&r);
		for (unsigned k = 0; k < 4; k++)
			s->bytes[i + k] =
			    next_symbol(s->literal, &h->literal_state[k], &r);
	}
	return !r.missing;
}

static const char *run_triples(
    struct lzfse_space *s, struct lz_out *o, const uint8_t *payload)
{
	struct lzfse_header *h = &s->h;
	uint32_t used = 0, distance = 0;
	struct reader r;

	if (!reader_init(&r, payload, h->triple_len, h->triple_skip))
		return "matches are cut";
	for (uint32_t i = 0; i < h->triples; i++) {
		uint32_t l, m, d;

		fill(&r);
		l = next_value(s->l, &h->l_state, &r);
		m = next_value(s->m, &h->m_state, &r);
		d = next_value(s->d, &h->d_state, &r);
		if (r.missing)
			return "matches are cut";
		if (d)
			distance = d;
		if (l > h->literals - used)
			return "a match needs more literals than there are";
		if (!lz_literals(o, s->bytes + used, l) ||
		    (m && !lz_match(o, m, distance)))
			return "a match leaves the output";
		used += l;
	}
	return NULL;
}

const char *lzfse_block(
    struct lzfse_space *s, struct lz_out *o, struct lz_in *in)
{
	const struct lzfse_header *h = &s->h;
	const uint8_t *literals = in->p;

	if (h->literal_len > in->left ||
	    h->triple_len > in->left - h->literal_len)
		return "a block is cut";
	in->p += h->literal_len + h->triple_len;
	in->left -= h->literal_len + h->triple_len;
	make_tables(s);
	if (!read_literals(s, literals))
		return "literals are cut";
	return run_triples(s, o, literals + h->literal_len);
}
