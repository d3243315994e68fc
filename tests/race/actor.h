/* SPDX-License-Identifier: BSD-3-Clause */
/* One operation in a thread of its own. */
#ifndef TEST_ACTOR_H
#define TEST_ACTOR_H

#include <pthread.h>
#include <stdatomic.h>
#include <sys/types.h>

#include "formats/image.h"

enum actor_op {
	ACT_READ,
	ACT_WRITE,
	ACT_ZERO,
	ACT_TRIM,
	ACT_FLUSH,
	ACT_CHECK,    /* closes the gate */
	ACT_RESIZE,   /* to `len`; closes the gate */
	ACT_SNAPSHOT, /* takes "s"; closes the gate */
};

struct actor {
	enum actor_op op;
	struct image *img;
	void *buf; /* READ, WRITE; must last until actor_join() */
	uint64_t len, off;
	unsigned flags;
	int rc;
	struct err e;
	_Atomic bool done;
	_Atomic pid_t tid;
	pthread_t thread;
};

/* Starts; what the fields above `rc` say. */
void actor_start(struct actor *a);
/* Returns when it has come to where it has to wait; fails the test if it ended
 * instead. */
void actor_waits(struct actor *a);
/* Waits for it; the result of the operation, with a->e. */
int actor_join(struct actor *a);
/* The same where it must have worked. */
void actor_finish(struct actor *a);

#endif
