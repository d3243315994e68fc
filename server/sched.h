/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Worker threads, shared by all clients, for what may take long: a slow job
 * stops neither the client's other requests nor other clients.
 *
 * A lane is one client's queue.  Lanes that have jobs take turns, one job at a
 * time, so a client with many jobs does not starve the others.  Jobs of one
 * lane start in their order, and run at the same time.
 *
 * Threads: every function, any thread.
 */
#ifndef IMGD_SCHED_H
#define IMGD_SCHED_H

#include <stdbool.h>

#include "core/err.h"

struct sched;

struct job {
	struct job *next;
	void (*run)(struct job *j);
};

/* Zeroes make an empty one.  Guarded by the scheduler's lock. */
struct lane {
	struct job *head, *last;
	struct lane *next;
	bool queued;
};

/* At most `max` threads; each is started when it is first needed. */
struct sched *sched_new(unsigned max, struct err *e);
/* No jobs are left; waits for the threads.  NULL is allowed. */
void sched_free(struct sched *s);
/* The lane must live until its last job has begun to run. */
void sched_submit(struct sched *s, struct lane *lane, struct job *j);

#endif
