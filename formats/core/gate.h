/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The gate of an image: requests pass it shared; resize, snapshots and close
 * take it exclusively, when every request has ended.  Unlike a rwlock, a
 * request may leave in another thread than it entered in.
 */
#ifndef IMGD_GATE_H
#define IMGD_GATE_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "lock.h"

struct CAPABILITY("gate") gate {
	struct mutex lock;
	pthread_cond_t changed;
	uint64_t inside; /* requests */
	bool closed;	 /* somebody has it, or waits for it, exclusively */
};

void gate_init(struct gate *g);
void gate_destroy(struct gate *g);
void gate_enter(struct gate *g);
/* False when it is closed, or somebody waits to close it. */
bool gate_tryenter(struct gate *g);
void gate_leave(struct gate *g);
void gate_close(struct gate *g) ACQUIRES(g);
void gate_open(struct gate *g) RELEASES(g);

#endif
