/* SPDX-License-Identifier: BSD-3-Clause */
/* Epochs: see pin.h.  Sequentially consistent throughout: the proof is that
 * whoever entered epoch E was counted before E could become E + 2. */
#include "pin.h"

void pin_init(struct pin *p)
{
	atomic_init(&p->epoch, 2);
	atomic_init(&p->inside[0], 0);
	atomic_init(&p->inside[1], 0);
}

unsigned pin_enter(struct pin *p)
{
	for (;;) {
		uint64_t e = atomic_load(&p->epoch);

		atomic_fetch_add(&p->inside[e & 1], 1);
		if (atomic_load(&p->epoch) == e)
			return e & 1;
		/* The epoch moved in between: this count may be in one that
		 * is taken for empty. */
		atomic_fetch_sub(&p->inside[e & 1], 1);
	}
}

void pin_leave(struct pin *p, unsigned token)
{
	atomic_fetch_sub(&p->inside[token], 1);
}

uint64_t pin_now(struct pin *p)
{
	return atomic_load(&p->epoch);
}

bool pin_passed(struct pin *p, uint64_t tag)
{
	for (int i = 0; i < 2; i++) {
		uint64_t e = atomic_load(&p->epoch);

		if (e >= tag + 2)
			return true;
		if (atomic_load(&p->inside[(e + 1) & 1]))
			return false;
		atomic_compare_exchange_strong(&p->epoch, &e, e + 1);
	}
	return atomic_load(&p->epoch) >= tag + 2;
}

uint64_t pin_inside(struct pin *p)
{
	return atomic_load(&p->inside[0]) + atomic_load(&p->inside[1]);
}
