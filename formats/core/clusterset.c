/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A set of cluster indexes: see clusterset.h.  Leaves of LEAF_BITS bits in an
 * open hash table that is at most half full; leaves are never removed.
 */
#include <stdlib.h>

#include "clusterset.h"
#include "units.h"

#define LEAF_BITS 512u

struct clusterset_leaf {
	uint64_t key; /* cluster index / LEAF_BITS */
	uint64_t bits[LEAF_BITS / 64];
};

void clusterset_init(struct clusterset *s)
{
	s->slot = NULL;
	s->max = s->n = 0;
}

void clusterset_destroy(struct clusterset *s)
{
	for (size_t i = 0; i < s->max; i++)
		free(s->slot[i]);
	free(s->slot);
	clusterset_init(s);
}

/* The slot of the leaf, or the empty one where it would go. */
static struct clusterset_leaf **find(
    struct clusterset_leaf **slot, size_t max, uint64_t key)
{
	size_t i = (key * 0x9e3779b97f4a7c15ull) >> 32;

	for (;; i++) {
		struct clusterset_leaf **p = &slot[i & (max - 1)];

		if (!*p || (*p)->key == key)
			return p;
	}
}

static int grow(struct clusterset *s, struct err *e)
{
	size_t max = s->max ? 2 * s->max : 16;
	struct clusterset_leaf **slot = calloc(max, sizeof(*slot));

	if (!slot)
		return err_nomem(e);
	for (size_t i = 0; i < s->max; i++)
		if (s->slot[i])
			*find(slot, max, s->slot[i]->key) = s->slot[i];
	free(s->slot);
	s->slot = slot;
	s->max = max;
	return 0;
}

static struct clusterset_leaf *get(const struct clusterset *s, uint64_t key)
{
	return s->max ? *find(s->slot, s->max, key) : NULL;
}

static struct clusterset_leaf *make(
    struct clusterset *s, uint64_t key, struct err *e)
{
	struct clusterset_leaf *leaf = get(s, key);

	if (leaf)
		return leaf;
	if (2 * (s->n + 1) > s->max && grow(s, e))
		return NULL;
	leaf = calloc(1, sizeof *leaf);
	if (!leaf) {
		err_nomem(e);
		return NULL;
	}
	leaf->key = key;
	*find(s->slot, s->max, key) = leaf;
	s->n++;
	return leaf;
}

int clusterset_add(struct clusterset *s, uint64_t cl, uint64_t n, struct err *e)
{
	for (; n; cl++, n--) {
		struct clusterset_leaf *leaf = make(s, cl / LEAF_BITS, e);

		if (!leaf)
			return -1;
		leaf->bits[cl % LEAF_BITS / 64] |= 1ull << (cl % 64);
	}
	return 0;
}

void clusterset_remove(struct clusterset *s, uint64_t cl, uint64_t n)
{
	for (; n; cl++, n--) {
		struct clusterset_leaf *leaf = get(s, cl / LEAF_BITS);

		if (leaf)
			leaf->bits[cl % LEAF_BITS / 64] &= ~(1ull << (cl % 64));
	}
}

bool clusterset_any(const struct clusterset *s, uint64_t cl, uint64_t n)
{
	while (n) {
		const struct clusterset_leaf *leaf = get(s, cl / LEAF_BITS);
		uint64_t in_leaf = min_u64(n, LEAF_BITS - cl % LEAF_BITS);

		for (uint64_t i = 0; leaf && i < in_leaf; i++) {
			uint64_t b = (cl + i) % LEAF_BITS;

			if (leaf->bits[b / 64] >> (b % 64) & 1)
				return true;
		}
		cl += in_leaf;
		n -= in_leaf;
	}
	return false;
}
