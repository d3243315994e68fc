/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Host space without a record of what is free: see space.h.
 *
 * One bit for each unit, set where it is free, in leaves.  A leaf without any
 * is NULL; one where all are free is all_free until the first is taken.  Bits
 * from end_ix on are never set, so the space can grow over them.
 */
#include <errno.h>
#include <stdlib.h>

#include "space.h"
#include "units.h"

#define LEAF_BITS  32768u
#define LEAF_WORDS (LEAF_BITS / 64)
/* Claimed past the end: leaves of the set, and claims. */
#define FAR_LEAVES_MAX 65536u
#define FAR_MAX	       (16u * MiB)
#define LEAVES_MAX     (4u * MiB) /* of what is scanned */

struct space_leaf {
	uint32_t free_n;
	uint64_t word[LEAF_WORDS];
};

/* Only its address counts. */
static struct space_leaf all_free;

void space_init(struct space *s, uint64_t base, uint64_t unit_len, uint64_t end,
    uint64_t limit)
{
	*s = (struct space){.base = base,
	    .unit_len = unit_len,
	    .end_ix = div_up(end - base, unit_len),
	    .max_ix = (limit - base) / unit_len};
	s->first_ix = s->end_ix;
	clusterset_init(&s->shared);
	clusterset_init(&s->far);
}

void space_destroy(struct space *s)
{
	for (size_t i = 0; i < s->leaf_n; i++)
		if (s->leaf[i] != &all_free)
			free(s->leaf[i]);
	free(s->leaf);
	clusterset_destroy(&s->shared);
	clusterset_destroy(&s->far);
	*s = (struct space){0};
}

/* ---- bits ---------------------------------------------------------------- */

static const struct space_leaf *leaf_of(const struct space *s, uint64_t ix)
{
	return ix / LEAF_BITS < s->leaf_n ? s->leaf[ix / LEAF_BITS] : NULL;
}

static bool is_free(const struct space *s, uint64_t ix)
{
	const struct space_leaf *l = leaf_of(s, ix);

	if (!l || l == &all_free)
		return l;
	return l->word[ix % LEAF_BITS / 64] >> ix % 64 & 1;
}

static struct space_leaf *leaf_new(unsigned free_n, struct err *e)
{
	struct space_leaf *l = calloc(1, sizeof *l);

	if (!l) {
		err_nomem(e);
		return NULL;
	}
	l->free_n = free_n;
	for (unsigned i = 0; i < free_n / 64; i++)
		l->word[i] = UINT64_MAX;
	if (free_n % 64)
		l->word[free_n / 64] = (1ull << free_n % 64) - 1;
	return l;
}

/* Units that are free, `bits` of one word, are owned now; ix: its first. */
static int set_owned(struct space *s, uint64_t ix, uint64_t bits, struct err *e)
{
	struct space_leaf **p = &s->leaf[ix / LEAF_BITS], *l = *p;
	unsigned n = (unsigned)__builtin_popcountll(bits);

	if (!bits)
		return 0;
	if (l == &all_free) {
		l = leaf_new(LEAF_BITS, e);
		if (!l)
			return -1;
		*p = l;
	}
	l->word[ix % LEAF_BITS / 64] &= ~bits;
	s->free_n -= n;
	l->free_n -= n;
	if (l->free_n)
		return 0;
	free(l);
	*p = NULL;
	return 0;
}

static int set_one_owned(struct space *s, uint64_t ix, struct err *e)
{
	return set_owned(s, round_down(ix, 64), 1ull << ix % 64, e);
}

static int grow_leaves(struct space *s, uint64_t n, struct err *e)
{
	struct space_leaf **leaf;

	if (n <= s->leaf_n)
		return 0;
	n = max_u64(n, 2 * s->leaf_n);
	leaf = reallocarray(s->leaf, n, sizeof(*leaf));
	if (!leaf)
		return err_nomem(e);
	for (size_t i = s->leaf_n; i < n; i++)
		leaf[i] = NULL;
	s->leaf = leaf;
	s->leaf_n = n;
	return 0;
}

/* A unit that is owned. */
static int set_free(struct space *s, uint64_t ix, struct err *e)
{
	struct space_leaf **p, *l;

	if (grow_leaves(s, ix / LEAF_BITS + 1, e))
		return -1;
	p = &s->leaf[ix / LEAF_BITS];
	if (!*p)
		*p = leaf_new(0, e);
	l = *p;
	if (!l)
		return -1;
	l->word[ix % LEAF_BITS / 64] |= 1ull << ix % 64;
	l->free_n++;
	s->free_n++;
	s->first_ix = min_u64(s->first_ix, ix);
	return 0;
}

/* The first free unit from ix on; end_ix: none. */
static uint64_t next_free(const struct space *s, uint64_t ix)
{
	while (ix < s->end_ix) {
		const struct space_leaf *l = leaf_of(s, ix);
		uint64_t bits;

		if (!l) {
			ix = (ix / LEAF_BITS + 1) * LEAF_BITS;
			continue;
		}
		if (l == &all_free)
			return ix;
		bits = l->word[ix % LEAF_BITS / 64] >> ix % 64;
		if (bits)
			return ix + (unsigned)__builtin_ctzll(bits);
		ix = (ix / 64 + 1) * 64;
	}
	return s->end_ix;
}

/* The last leaf, if all of it up to the end is free, is gone. */
static bool drop_leaf(struct space *s)
{
	struct space_leaf **p = &s->leaf[(s->end_ix - 1) / LEAF_BITS];

	if (*p != &all_free || !is_aligned(s->end_ix, LEAF_BITS))
		return false;
	*p = NULL;
	s->free_n -= LEAF_BITS;
	s->end_ix -= LEAF_BITS;
	return true;
}

/* What is free at the end goes back to who makes the file shorter or longer. */
static void trim_end(struct space *s)
{
	struct err e = ERR_INIT;

	while (s->end_ix && is_free(s, s->end_ix - 1)) {
		if (drop_leaf(s))
			continue;
		if (set_one_owned(s, s->end_ix - 1, &e))
			break;
		s->end_ix--;
	}
	s->first_ix = min_u64(s->first_ix, s->end_ix);
}

/* ---- scan ---------------------------------------------------------------- */

int space_scan_begin(struct space *s, struct err *e)
{
	uint64_t whole = s->end_ix / LEAF_BITS;
	unsigned rest = s->end_ix % LEAF_BITS;

	if (whole >= LEAVES_MAX)
		return err_unsupported(e,
		    "%llu units of %llu bytes: at most %llu can be told apart",
		    (unsigned long long)s->end_ix,
		    (unsigned long long)s->unit_len,
		    (unsigned long long)LEAVES_MAX * LEAF_BITS);
	if (grow_leaves(s, whole + 1, e))
		return -1;
	for (uint64_t i = 0; i < whole; i++)
		s->leaf[i] = &all_free;
	if (rest) {
		s->leaf[whole] = leaf_new(rest, e);
		if (!s->leaf[whole])
			return -1;
	}
	s->first_ix = 0;
	s->free_n = s->end_ix;
	return 0;
}

/* The units that [host, host + len) touches. */
static void touched(const struct space *s, uint64_t host, uint64_t len,
    uint64_t *ix, uint64_t *end_ix)
{
	uint64_t end = host + len > s->base ? host + len - s->base : 0;

	*ix = host > s->base ? (host - s->base) / s->unit_len : 0;
	*end_ix = div_up(end, s->unit_len);
}

static uint64_t mask_of(uint64_t ix, uint64_t n)
{
	return (n < 64 ? (1ull << n) - 1 : UINT64_MAX) << ix % 64;
}

/* n units of one word: 1: one of them has an owner already. */
static int claim_word(struct space *s, uint64_t ix, uint64_t n, struct err *e)
{
	const struct space_leaf *l = leaf_of(s, ix);
	uint64_t mask = mask_of(ix, n), word = 0, owned;

	if (l)
		word =
		    l == &all_free ? UINT64_MAX : l->word[ix % LEAF_BITS / 64];
	owned = mask & ~word;
	for (uint64_t left = owned; left; left &= left - 1)
		if (clusterset_add(&s->shared,
			round_down(ix, 64) + (unsigned)__builtin_ctzll(left), 1,
			e))
			return -1;
	if (set_owned(s, round_down(ix, 64), mask & word, e))
		return -1;
	return owned != 0;
}

/* The same of one unit past the end. */
static int claim_far(struct space *s, uint64_t ix, struct err *e)
{
	bool had = clusterset_any(&s->far, ix, 1);

	if (s->far.n >= FAR_LEAVES_MAX || ++s->far_n > FAR_MAX)
		return err_damaged(
		    e, "too many entries point past the end of the file");
	return clusterset_add(had ? &s->shared : &s->far, ix, 1, e) ? -1 : had;
}

/* The same of the first one past the end, for who has the last before it. */
static int claim_next(struct space *s, uint64_t ix, struct err *e)
{
	bool had = clusterset_any(&s->far, ix, 1);

	s->end_ix++;
	return had && clusterset_add(&s->shared, ix, 1, e) ? -1 : had;
}

int space_claim(struct space *s, uint64_t host, uint64_t len, struct err *e)
{
	uint64_t ix, end_ix, n;
	int twice = 0;
	bool inside;

	touched(s, host, len, &ix, &end_ix);
	inside = ix < s->end_ix;
	for (; ix < end_ix; ix += n) {
		int rc;

		if (ix < s->end_ix) {
			n = min_u64(end_ix, s->end_ix) - ix;
			n = min_u64(n, 64 - ix % 64);
			rc = claim_word(s, ix, n, e);
		} else {
			n = 1;
			rc = inside && ix < s->max_ix ? claim_next(s, ix, e)
						      : claim_far(s, ix, e);
		}
		if (rc < 0)
			return -1;
		twice |= rc;
	}
	return twice;
}

void space_scan_end(struct space *s)
{
	trim_end(s);
}

bool space_shared(const struct space *s, uint64_t host, uint64_t len)
{
	uint64_t ix, end_ix;

	if (!s->shared.n)
		return false;
	touched(s, host, len, &ix, &end_ix);
	return ix < end_ix && clusterset_any(&s->shared, ix, end_ix - ix);
}

/* ---- take and give ------------------------------------------------------- */

/* How many units from ix on, which is free, are free?  At most max_n. */
static uint64_t run_of(const struct space *s, uint64_t ix, uint64_t max_n)
{
	uint64_t n = 1;

	while (n < max_n && ix + n < s->end_ix && is_free(s, ix + n))
		n++;
	return n;
}

/* 1 found: that many units at *ix, a multiple of `least`; 0 none; -1 failed. */
static int take_free(struct space *s, uint64_t least, uint64_t most,
    uint64_t *ix, uint64_t *n, struct err *e)
{
	s->first_ix = next_free(s, s->first_ix);
	for (*ix = s->first_ix; *ix < s->end_ix; *ix = next_free(s, *ix + *n)) {
		*n = run_of(s, *ix, most);
		if (*n >= least)
			break;
	}
	if (*ix >= s->end_ix)
		return 0;
	*n -= *n % least;
	for (uint64_t i = 0; i < *n; i++)
		if (set_one_owned(s, *ix + i, e))
			return -1; /* what was taken of it is a leak */
	return 1;
}

/* New units; those in the way that were claimed past the end stay owned. */
static int take_end(struct space *s, uint64_t least, uint64_t most,
    uint64_t *ix, uint64_t *n, struct err *e)
{
	while (s->end_ix < s->max_ix) {
		*ix = s->end_ix;
		*n = min_u64(most, s->max_ix - s->end_ix);
		*n -= *n % least;
		while (*n > least && clusterset_any(&s->far, *ix, *n))
			*n -= least;
		if (!*n)
			break;
		if (!clusterset_any(&s->far, *ix, *n)) {
			s->end_ix += *n;
			return 0;
		}
		s->end_ix++;
	}
	return err_set(e, ERR_SYSTEM, EFBIG,
	    "the format cannot address more than %llu bytes of the file",
	    (unsigned long long)(s->base + s->max_ix * s->unit_len));
}

int space_take(struct space *s, uint64_t least, uint64_t most, uint64_t *host,
    uint64_t *got, struct err *e)
{
	uint64_t ix = 0, n = 0;
	int rc;

	least /= s->unit_len;
	most /= s->unit_len;
	rc = take_free(s, least, most, &ix, &n, e);
	if (rc < 0 || (!rc && take_end(s, least, most, &ix, &n, e)))
		return -1;
	/* No unit below is free. */
	if (s->first_ix >= ix)
		s->first_ix = ix + n;
	*host = s->base + ix * s->unit_len;
	*got = n * s->unit_len;
	return 0;
}

void space_give(struct space *s, uint64_t host, uint64_t len)
{
	uint64_t ix = (host - s->base) / s->unit_len;
	struct err e = ERR_INIT;

	for (uint64_t end = ix + len / s->unit_len; ix < end; ix++)
		if (!clusterset_any(&s->shared, ix, 1) && ix < s->end_ix &&
		    set_free(s, ix, &e))
			break;
	trim_end(s);
}

int space_claim_free(struct space *s, uint64_t from, uint64_t to, struct err *e)
{
	uint64_t ix = from > s->base ? div_up(from - s->base, s->unit_len) : 0;
	uint64_t end_ix = to > s->base ? div_up(to - s->base, s->unit_len) : 0;

	for (; (ix = next_free(s, ix)) < min_u64(end_ix, s->end_ix); ix++)
		if (set_one_owned(s, ix, e))
			return -1;
	return 0;
}

void space_cut(struct space *s, uint64_t end)
{
	s->end_ix = (end - s->base) / s->unit_len;
	s->first_ix = min_u64(s->first_ix, s->end_ix);
}
