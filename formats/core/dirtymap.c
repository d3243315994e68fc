/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A map of guest granules: see dirtymap.h.
 *
 * Bits are in leaves of LEAF_LEN bytes, leaves in nodes of NODE_N pointers.  A
 * leaf or node that is not there is clean; `all_dirty` and `dirty_node` stand
 * for those that are dirty throughout, and are never written to.  Bits past the
 * last granule are zero, so neither of them reaches past it.
 */
#include <stdlib.h>
#include <string.h>

#include "dirtymap.h"
#include "units.h"

#define LEAF_LEN  4096u
#define LEAF_BITS (8ull * LEAF_LEN)
#define NODE_N	  512u
#define NODE_BITS (NODE_N * LEAF_BITS)

struct leaf {
	uint8_t byte[LEAF_LEN];
};
struct node {
	struct leaf *leaf[NODE_N];
};

static struct leaf all_dirty = {.byte = {[0 ... LEAF_LEN - 1] = 0xff}};
static struct node dirty_node = {.leaf = {[0 ... NODE_N - 1] = &all_dirty}};

/* ---- leaves and nodes ---------------------------------------------------- */

static void leaf_drop(struct leaf *l)
{
	if (l != &all_dirty)
		free(l);
}

static void node_drop(struct node *n)
{
	if (!n || n == &dirty_node)
		return;
	for (unsigned i = 0; i < NODE_N; i++)
		leaf_drop(n->leaf[i]);
	free(n);
}

/* The leaf of a bit, which may be past the last one; NULL: clean. */
static const struct leaf *leaf_at(const struct dirtymap *m, uint64_t bit)
{
	const struct node *n;

	if (bit >= m->bits_n)
		return NULL;
	n = m->top[bit / NODE_BITS];
	return n ? n->leaf[bit / LEAF_BITS % NODE_N] : NULL;
}

/* The place of a leaf, in a node that may be written to. */
static struct leaf **own_slot(struct dirtymap *m, uint64_t bit, struct err *e)
{
	struct node **p = &m->top[bit / NODE_BITS];

	if (!*p || *p == &dirty_node) {
		struct node *n = calloc(1, sizeof *n);

		if (!n) {
			err_nomem(e);
			return NULL;
		}
		if (*p)
			*n = dirty_node;
		*p = n;
	}
	return &(*p)->leaf[bit / LEAF_BITS % NODE_N];
}

/* A leaf that may be written to. */
static struct leaf *own_leaf(struct dirtymap *m, uint64_t bit, struct err *e)
{
	struct leaf **p = own_slot(m, bit, e), *l;

	if (!p || (*p && *p != &all_dirty))
		return p ? *p : NULL;
	l = calloc(1, sizeof *l);
	if (!l) {
		err_nomem(e);
		return NULL;
	}
	if (*p)
		*l = all_dirty;
	*p = l;
	return l;
}

/* Bits [from, end) of a byte array become ones, or zeroes. */
static void bytes_fill(uint8_t *byte, uint64_t from, uint64_t end, bool ones)
{
	while (from < end) {
		uint64_t n = min_u64(end - from, 8 - from % 8);
		uint8_t mask;

		if (n == 8) {
			n = round_down(end - from, 8);
			memset(byte + from / 8, ones ? 0xff : 0, n / 8);
			from += n;
			continue;
		}
		mask = (uint8_t)(((1u << n) - 1) << from % 8);
		byte[from / 8] =
		    ones ? byte[from / 8] | mask : byte[from / 8] & ~mask;
		from += n;
	}
}

/* ---- life -----------------------------------------------------------------
 */

struct dirtymap *dirtymap_new(
    uint64_t size, unsigned granularity_bits, struct err *e)
{
	struct dirtymap *m = calloc(1, sizeof *m);

	if (!m) {
		err_nomem(e);
		return NULL;
	}
	m->size = size;
	m->granularity_bits = granularity_bits;
	m->bits_n = div_up(size, 1ull << granularity_bits);
	m->top_n = div_up(m->bits_n, NODE_BITS);
	m->top = calloc(m->top_n + 1, sizeof(*m->top));
	if (m->top)
		return m;
	free(m);
	err_nomem(e);
	return NULL;
}

void dirtymap_clear(struct dirtymap *m)
{
	for (size_t i = 0; i < m->top_n; i++) {
		node_drop(m->top[i]);
		m->top[i] = NULL;
	}
}

void dirtymap_free(struct dirtymap *m)
{
	if (!m)
		return;
	dirtymap_clear(m);
	free(m->top);
	free(m);
}

struct dirtymap *dirtymap_copy(const struct dirtymap *m, struct err *e)
{
	struct dirtymap *copy = dirtymap_new(m->size, m->granularity_bits, e);

	if (copy && !dirtymap_merge(copy, m, e))
		return copy;
	dirtymap_free(copy);
	return NULL;
}

/* ---- changing -------------------------------------------------------------
 */

static int set_in_leaf(
    struct dirtymap *m, uint64_t from, uint64_t end, struct err *e)
{
	struct leaf *l;

	if (leaf_at(m, from) == &all_dirty)
		return 0;
	l = own_leaf(m, from, e);
	if (!l)
		return -1;
	end = from % LEAF_BITS + (end - from);
	bytes_fill(l->byte, from % LEAF_BITS, end, true);
	return 0;
}

static int set_leaf(struct dirtymap *m, uint64_t bit, struct err *e)
{
	struct leaf **p = own_slot(m, bit, e);

	if (!p)
		return -1;
	leaf_drop(*p);
	*p = &all_dirty;
	return 0;
}

static int set_bits(
    struct dirtymap *m, uint64_t from, uint64_t end, struct err *e)
{
	uint64_t n;

	for (; from < end; from += n) {
		uint64_t left = end - from;

		if (!(from % NODE_BITS) && left >= NODE_BITS) {
			node_drop(m->top[from / NODE_BITS]);
			m->top[from / NODE_BITS] = &dirty_node;
			n = NODE_BITS;
			continue;
		}
		n = min_u64(left, LEAF_BITS - from % LEAF_BITS);
		if (n == LEAF_BITS ? set_leaf(m, from, e)
				   : set_in_leaf(m, from, from + n, e))
			return -1;
	}
	return 0;
}

int dirtymap_set(struct dirtymap *m, uint64_t off, uint64_t len, struct err *e)
{
	if (!len)
		return 0;
	return set_bits(m, off >> m->granularity_bits,
	    ((off + len - 1) >> m->granularity_bits) + 1, e);
}

/* Granules of one size: leaf by leaf.  What dst has no room for is passed by.
 */
static int merge_leaves(
    struct dirtymap *dst, const struct dirtymap *src, struct err *e)
{
	for (uint64_t bit = 0; bit < src->bits_n; bit += LEAF_BITS) {
		const struct leaf *l = leaf_at(src, bit);
		int rc = 0;

		if (l == &all_dirty)
			rc = dirtymap_add_ones(dst, bit / 8, LEAF_LEN, e);
		else if (l)
			rc = dirtymap_add(dst, l->byte, LEAF_LEN, bit / 8, e);
		if (rc)
			return -1;
	}
	return 0;
}

int dirtymap_resize(struct dirtymap *m, uint64_t size, struct err *e)
{
	struct dirtymap *new = dirtymap_new(size, m->granularity_bits, e), old;

	if (!new || merge_leaves(new, m, e)) {
		dirtymap_free(new);
		return -1;
	}
	old = *m;
	*m = *new;
	*new = old;
	dirtymap_free(new);
	return 0;
}

int dirtymap_merge(
    struct dirtymap *dst, const struct dirtymap *src, struct err *e)
{
	uint64_t run;

	if (dst->granularity_bits == src->granularity_bits)
		return merge_leaves(dst, src, e);
	for (uint64_t off = 0; off < src->size; off += run)
		if (dirtymap_run(src, off, src->size - off, &run) &&
		    dirtymap_set(dst, off, run, e))
			return -1;
	return 0;
}

/* ---- runs -----------------------------------------------------------------
 */

/* The first bit of [from, end) in a leaf that is not `ones`; end: none. */
static uint64_t leaf_run(
    const struct leaf *l, uint64_t from, uint64_t end, bool ones)
{
	while (from < end) {
		uint64_t word = le64(l->byte + from / 64 * 8);

		word = (ones ? ~word : word) >> from % 64;
		if (word)
			return min_u64(
			    end, from + (uint64_t)__builtin_ctzll(word));
		from = round_down(from, 64) + 64;
	}
	return end;
}

static bool bit_is_set(const struct dirtymap *m, uint64_t bit)
{
	const struct leaf *l = leaf_at(m, bit);

	return l && l->byte[bit % LEAF_BITS / 8] >> bit % 8 & 1;
}

/* How many bits from `from` on, up to `end`, are as it is? */
static uint64_t bit_run(const struct dirtymap *m, uint64_t from, uint64_t end)
{
	bool ones = bit_is_set(m, from);
	uint64_t at = from;

	while (at < end) {
		const struct leaf *l = leaf_at(m, at);
		uint64_t stop =
		    min_u64(end, round_down(at, LEAF_BITS) + LEAF_BITS);
		uint64_t base = round_down(at, LEAF_BITS), got;

		if (!l || l == &all_dirty) {
			if ((l != NULL) != ones)
				break;
			at = stop;
			continue;
		}
		got = base + leaf_run(l, at - base, stop - base, ones);
		at = got;
		if (got < stop)
			break;
	}
	return at - from;
}

bool dirtymap_run(
    const struct dirtymap *m, uint64_t off, uint64_t len, uint64_t *run)
{
	uint64_t bit = off >> m->granularity_bits;
	uint64_t end = ((off + len - 1) >> m->granularity_bits) + 1;

	end = bit + bit_run(m, bit, end);
	*run = min_u64(len, (end << m->granularity_bits) - off);
	return bit_is_set(m, bit);
}

/* ---- as bytes --------------------------------------------------------------
 */

uint64_t dirtymap_bytes_n(const struct dirtymap *m)
{
	return div_up(m->bits_n, 8);
}

enum dirtymap_kind dirtymap_kind(
    const struct dirtymap *m, uint64_t pos, uint64_t n)
{
	if (bit_run(m, 8 * pos, 8 * (pos + n)) < 8 * n)
		return DIRTYMAP_MIXED;
	return bit_is_set(m, 8 * pos) ? DIRTYMAP_DIRTY : DIRTYMAP_CLEAN;
}

void dirtymap_get(
    const struct dirtymap *m, uint8_t *buf, size_t n, uint64_t pos)
{
	while (n) {
		const struct leaf *l = leaf_at(m, 8 * pos);
		size_t now = min_u64(n, LEAF_LEN - pos % LEAF_LEN);

		if (l)
			memcpy(buf, l->byte + pos % LEAF_LEN, now);
		else
			memset(buf, 0, now);
		buf += now;
		pos += now;
		n -= now;
	}
}

/* Bytes that lie in one leaf and before the end. */
static int add_in_leaf(struct dirtymap *m, const uint8_t *buf, size_t n,
    uint64_t pos, struct err *e)
{
	static const struct leaf clean;
	struct leaf *l;

	if (!memcmp(buf, clean.byte, n) || leaf_at(m, 8 * pos) == &all_dirty)
		return 0;
	l = own_leaf(m, 8 * pos, e);
	if (!l)
		return -1;
	for (size_t i = 0; i < n; i++)
		l->byte[pos % LEAF_LEN + i] |= buf[i];
	if (m->bits_n % 8 && pos + n == dirtymap_bytes_n(m))
		bytes_fill(l->byte, m->bits_n % LEAF_BITS,
		    round_up(m->bits_n % LEAF_BITS, 8), false);
	return 0;
}

int dirtymap_add(struct dirtymap *m, const uint8_t *buf, size_t n, uint64_t pos,
    struct err *e)
{
	uint64_t end = min_u64(pos + n, dirtymap_bytes_n(m)), now;

	for (; pos < end; buf += now, pos += now) {
		now = min_u64(end - pos, LEAF_LEN - pos % LEAF_LEN);
		if (add_in_leaf(m, buf, now, pos, e))
			return -1;
	}
	return 0;
}

int dirtymap_add_ones(
    struct dirtymap *m, uint64_t pos, uint64_t n, struct err *e)
{
	return set_bits(m, 8 * pos, min_u64(8 * (pos + n), m->bits_n), e);
}
