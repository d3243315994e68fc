/* SPDX-License-Identifier: BSD-3-Clause */
/* Quarantine: see quarantine.h. */
#include <stdlib.h>

#include "quarantine.h"

void quarantine_init(struct quarantine *q)
{
	mutex_init(&q->lock);
	q->item = NULL;
	q->max = 0;
	q->taken = q->forgotten = q->added = q->marked = 0;
}

void quarantine_destroy(struct quarantine *q)
{
	free(q->item);
	mutex_destroy(&q->lock);
}

static struct retired *slot(struct quarantine *q, uint64_t serial)
{
	return &q->item[serial & (q->max - 1)];
}

static int grow(struct quarantine *q, struct err *e) REQUIRES(&q->lock)
{
	size_t max = q->max ? 2 * q->max : 64;
	struct retired *item = calloc(max, sizeof *item);

	if (!item)
		return err_nomem(e);
	for (uint64_t s = q->taken; s < q->added; s++)
		item[s & (max - 1)] = *slot(q, s);
	free(q->item);
	q->item = item;
	q->max = max;
	return 0;
}

/* Neighbours that no commit has seen yet become one. */
static bool merge(struct quarantine *q, const struct retired *r)
{
	struct retired *last;

	if (q->added == q->marked || q->added == q->taken)
		return false;
	last = slot(q, q->added - 1);
	if (!last->whole || !r->whole || last->tag != r->tag ||
	    last->punch != r->punch || last->host + last->len != r->host)
		return false;
	last->len += r->len;
	return true;
}

int quarantine_add(struct quarantine *q, const struct retired *r, struct err *e)
{
	int rc = 0;

	mutex_lock(&q->lock);
	if (q->added - q->taken == q->max)
		rc = grow(q, e);
	if (!rc && !merge(q, r))
		*slot(q, q->added++) = *r;
	mutex_unlock(&q->lock);
	return rc;
}

uint64_t quarantine_n(struct quarantine *q)
{
	uint64_t n;

	mutex_lock(&q->lock);
	n = q->added - q->taken;
	mutex_unlock(&q->lock);
	return n;
}

bool quarantine_in_order(struct quarantine *q)
{
	bool ok;

	mutex_lock(&q->lock);
	ok = q->taken <= q->forgotten && q->forgotten <= q->marked &&
	     q->marked <= q->added;
	mutex_unlock(&q->lock);
	return ok;
}

uint64_t quarantine_mark(struct quarantine *q)
{
	uint64_t mark;

	mutex_lock(&q->lock);
	mark = q->marked = q->added;
	mutex_unlock(&q->lock);
	return mark;
}

void quarantine_forgotten(struct quarantine *q, uint64_t mark)
{
	mutex_lock(&q->lock);
	if (q->forgotten < mark)
		q->forgotten = mark;
	mutex_unlock(&q->lock);
}

bool quarantine_take(struct quarantine *q, struct pin *p, struct retired *r)
{
	bool got;

	mutex_lock(&q->lock);
	/* Tags only grow with the serial number: the oldest tells for all. */
	got = q->taken < q->forgotten && pin_passed(p, slot(q, q->taken)->tag);
	if (got)
		*r = *slot(q, q->taken++);
	mutex_unlock(&q->lock);
	return got;
}
