/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A number for each cluster of a file, 0 where nothing was set: memory goes
 * with what is set, about 2 bytes a cluster where that is dense.
 *
 * Pages of 16-bit numbers in an open hash that is at most half full; a page
 * that needs it becomes wide.  Sums stop at UINT64_MAX.  Not thread-safe.
 */
#ifndef IMGD_QCOW2_REFMAP_H
#define IMGD_QCOW2_REFMAP_H

#include <stddef.h>
#include <stdint.h>

#include "../core/err.h"

#define REFMAP_PAGE_N 512u

struct refpage {
	uint64_t key;	/* cluster / REFMAP_PAGE_N */
	uint64_t *wide; /* NULL: the numbers are in n[] */
	uint16_t n[REFMAP_PAGE_N];
};

struct refmap {
	struct refpage **slot;
	size_t max, n;	      /* slots, pages */
	struct refpage *last; /* the page that was used last, or NULL */
};

void refmap_destroy(struct refmap *m); /* all zero bytes: an empty one */
int refmap_set(struct refmap *m, uint64_t cl, uint64_t value, struct err *e);
/* The keys of all pages in order, malloc'd, m->n of them; NULL: no memory. */
uint64_t *refmap_keys(const struct refmap *m, struct err *e);

/* A page, or NULL. */
struct refpage *refmap_find(struct refmap *m, uint64_t key);
static inline struct refpage *refmap_page(struct refmap *m, uint64_t key)
{
	return m->last && m->last->key == key ? m->last : refmap_find(m, key);
}
int refmap_add_slow(struct refmap *m, uint64_t cl, uint64_t n, struct err *e);

static inline uint64_t refpage_get(const struct refpage *p, unsigned ix)
{
	return p->wide ? p->wide[ix] : p->n[ix];
}

static inline uint64_t refmap_get(struct refmap *m, uint64_t cl)
{
	struct refpage *p = refmap_page(m, cl / REFMAP_PAGE_N);

	return p ? refpage_get(p, cl % REFMAP_PAGE_N) : 0;
}

static inline int refmap_add(
    struct refmap *m, uint64_t cl, uint64_t n, struct err *e)
{
	struct refpage *p = m->last;

	if (p && p->key == cl / REFMAP_PAGE_N && !p->wide &&
	    n <= UINT16_MAX - (uint64_t)p->n[cl % REFMAP_PAGE_N]) {
		p->n[cl % REFMAP_PAGE_N] += (uint16_t)n;
		return 0;
	}
	return refmap_add_slow(m, cl, n, e);
}

#endif
