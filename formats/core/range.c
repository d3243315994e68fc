/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Guest range locks: see range.h.  A plain list: it holds the requests in
 * flight of one image, tens at most, and is shorter than any tree there.
 */
#include <assert.h>

#include "range.h"

void range_init(struct range_locks *l)
{
	mutex_init(&l->lock);
	lock_must(pthread_cond_init(&l->freed, NULL));
	l->head = l->tail = NULL;
}

void range_destroy(struct range_locks *l)
{
	assert(!l->head);
	pthread_cond_destroy(&l->freed);
	mutex_destroy(&l->lock);
}

static bool overlap_before(const struct range *r)
{
	for (const struct range *o = r->prev; o; o = o->prev)
		if (o->start < r->end && r->start < o->end)
			return true;
	return false;
}

static void append(
    struct range_locks *l, struct range *r, uint64_t start, uint64_t end)
{
	r->start = start;
	r->end = end;
	r->next = NULL;
	r->prev = l->tail;
	if (l->tail)
		l->tail->next = r;
	else
		l->head = r;
	l->tail = r;
}

static void unlink_range(struct range_locks *l, struct range *r)
{
	*(r->prev ? &r->prev->next : &l->head) = r->next;
	*(r->next ? &r->next->prev : &l->tail) = r->prev;
}

void range_lock(
    struct range_locks *l, struct range *r, uint64_t start, uint64_t end)
{
	mutex_lock(&l->lock);
	append(l, r, start, end);
	while (overlap_before(r))
		mutex_wait(&l->lock, &l->freed);
	r->held = true;
	mutex_unlock(&l->lock);
}

bool range_trylock(
    struct range_locks *l, struct range *r, uint64_t start, uint64_t end)
{
	bool got;

	mutex_lock(&l->lock);
	append(l, r, start, end);
	got = !overlap_before(r);
	if (!got)
		unlink_range(l, r);
	r->held = got;
	mutex_unlock(&l->lock);
	return got;
}

void range_unlock(struct range_locks *l, struct range *r)
{
	mutex_lock(&l->lock);
	assert(r->held);
	r->held = false;
	unlink_range(l, r);
	if (l->head)
		lock_must(pthread_cond_broadcast(&l->freed));
	mutex_unlock(&l->lock);
}
