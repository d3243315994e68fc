/* SPDX-License-Identifier: BSD-3-Clause */
/* Ranges that may overlap: see spans.h. */
#include <stdlib.h>

#include "spans.h"

void spans_destroy(struct spans *s)
{
	free(s->start);
	free(s->end);
	*s = (struct spans){0};
}

static int grow(struct spans *s, struct err *e)
{
	size_t max = s->max ? 2 * s->max : 16;
	uint64_t *p = realloc(s->start, max * sizeof *p);

	if (!p)
		return err_nomem(e);
	s->start = p;
	p = realloc(s->end, max * sizeof *p);
	if (!p)
		return err_nomem(e);
	s->end = p;
	s->max = max;
	return 0;
}

int spans_add(struct spans *s, uint64_t start, uint64_t end, struct err *e)
{
	if (start >= end)
		return 0;
	if (s->n == s->max && grow(s, e))
		return -1;
	s->start[s->n] = start;
	s->end[s->n++] = end;
	return 0;
}

static int by_value(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

int spans_walk(struct spans *s,
    int (*fn)(
	void *arg, uint64_t start, uint64_t end, uint64_t times, struct err *e),
    void *arg, struct err *e)
{
	uint64_t at = 0, depth = 0;
	size_t i = 0, j = 0;

	if (!s->n)
		return 0;
	qsort(s->start, s->n, sizeof *s->start, by_value);
	qsort(s->end, s->n, sizeof *s->end, by_value);
	while (j < s->n) {
		bool opens = i < s->n && s->start[i] <= s->end[j];
		uint64_t next = opens ? s->start[i] : s->end[j];

		if (depth && next > at && fn(arg, at, next, depth, e))
			return -1;
		at = next;
		depth += opens ? 1 : -1ull;
		i += opens;
		j += !opens;
	}
	return 0;
}
