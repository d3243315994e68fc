/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Epochs: who may still see an old mapping (I1).
 *
 * A request enters before its first look at the mapping and leaves at its end.
 * Space that a mapping gave up is tagged with pin_now() at that moment; when
 * pin_passed() says so, every request that could have seen the old mapping has
 * ended.  Nobody ever waits here.
 *
 * The epoch number moves from E to E + 1 only when nobody is left in E - 1;
 * so at any time requests are in at most two epochs, and two counters do.
 *
 * Threads: all functions, any thread, no lock needed.
 */
#ifndef IMGD_PIN_H
#define IMGD_PIN_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct pin {
	_Atomic uint64_t epoch;
	_Atomic uint64_t inside[2]; /* requests in epoch E: inside[E & 1] */
};

void pin_init(struct pin *p);
/* The token goes to pin_leave(). */
unsigned pin_enter(struct pin *p);
void pin_leave(struct pin *p, unsigned token);
uint64_t pin_now(struct pin *p);
/* Have all requests that were inside at pin_now() == tag ended? */
bool pin_passed(struct pin *p, uint64_t tag);
/* Requests inside, for assertions. */
uint64_t pin_inside(struct pin *p);

#endif
