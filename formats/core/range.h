/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Guest range locks: writers, zero and trim lock the whole units that they
 * touch; readers take none.  A request holds one range at a time.  Waiters
 * are served in the order of their arrival where they overlap.
 */
#ifndef IMGD_RANGE_H
#define IMGD_RANGE_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "lock.h"

/* One held or wanted range; lives in the request. */
struct range {
	uint64_t start, end; /* guest bytes [start, end) */
	struct range *prev, *next;
	bool held;
};

struct range_locks {
	struct mutex lock;
	pthread_cond_t freed;
	struct range *head, *tail; /* in order of arrival */
};

void range_init(struct range_locks *l);
void range_destroy(struct range_locks *l); /* none may be held */
/* Waits until no earlier range overlaps. */
void range_lock(
    struct range_locks *l, struct range *r, uint64_t start, uint64_t end);
/* The same without waiting: false when it would have to. */
bool range_trylock(
    struct range_locks *l, struct range *r, uint64_t start, uint64_t end);
void range_unlock(struct range_locks *l, struct range *r);

#endif
