/* SPDX-License-Identifier: BSD-3-Clause */
/* A number for each cluster: see refmap.h. */
#include <stdlib.h>

#include "refmap.h"

void refmap_destroy(struct refmap *m)
{
	for (size_t i = 0; i < m->max; i++) {
		if (!m->slot[i])
			continue;
		free(m->slot[i]->wide);
		free(m->slot[i]);
	}
	free(m->slot);
	*m = (struct refmap){0};
}

/* The slot of a page, or the empty one where it would go; max > 0. */
static struct refpage **find(struct refpage **slot, size_t max, uint64_t key)
{
	size_t i = (key * 0x9e3779b97f4a7c15ull) >> 32;

	while (slot[i & (max - 1)] && slot[i & (max - 1)]->key != key)
		i++;
	return &slot[i & (max - 1)];
}

static int grow(struct refmap *m, struct err *e)
{
	size_t max = m->max ? 2 * m->max : 64;
	struct refpage **slot = calloc(max, sizeof(*slot));

	if (!slot)
		return err_nomem(e);
	for (size_t i = 0; i < m->max; i++)
		if (m->slot[i])
			*find(slot, max, m->slot[i]->key) = m->slot[i];
	free(m->slot);
	m->slot = slot;
	m->max = max;
	return 0;
}

struct refpage *refmap_find(struct refmap *m, uint64_t key)
{
	struct refpage *p = m->max ? *find(m->slot, m->max, key) : NULL;

	if (p)
		m->last = p;
	return p;
}

static struct refpage *make_page(struct refmap *m, uint64_t key, struct err *e)
{
	struct refpage *p = refmap_page(m, key);

	if (p)
		return p;
	if (2 * (m->n + 1) > m->max && grow(m, e))
		return NULL;
	p = calloc(1, sizeof *p);
	if (!p) {
		err_nomem(e);
		return NULL;
	}
	p->key = key;
	*find(m->slot, m->max, key) = p;
	m->n++;
	m->last = p;
	return p;
}

static int widen(struct refpage *p, struct err *e)
{
	p->wide = malloc(REFMAP_PAGE_N * sizeof *p->wide);
	if (!p->wide)
		return err_nomem(e);
	for (unsigned i = 0; i < REFMAP_PAGE_N; i++)
		p->wide[i] = p->n[i];
	return 0;
}

int refmap_set(struct refmap *m, uint64_t cl, uint64_t value, struct err *e)
{
	struct refpage *p = make_page(m, cl / REFMAP_PAGE_N, e);

	if (!p || (!p->wide && value > UINT16_MAX && widen(p, e)))
		return -1;
	if (p->wide)
		p->wide[cl % REFMAP_PAGE_N] = value;
	else
		p->n[cl % REFMAP_PAGE_N] = (uint16_t)value;
	return 0;
}

int refmap_add_slow(struct refmap *m, uint64_t cl, uint64_t n, struct err *e)
{
	uint64_t old = refmap_get(m, cl);

	return refmap_set(
	    m, cl, n > UINT64_MAX - old ? UINT64_MAX : old + n, e);
}

static int by_value(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

uint64_t *refmap_keys(const struct refmap *m, struct err *e)
{
	uint64_t *keys = malloc((m->n + 1) * sizeof *keys);
	size_t n = 0;

	if (!keys) {
		err_nomem(e);
		return NULL;
	}
	for (size_t i = 0; i < m->max; i++)
		if (m->slot[i])
			keys[n++] = m->slot[i]->key;
	qsort(keys, n, sizeof *keys, by_value);
	return keys;
}
