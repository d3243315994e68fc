/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Looking again for a moment before sleeping.
 *
 * A client on the same machine that waits for each reply asks again within
 * microseconds.  To sleep meanwhile, and to be woken, costs both sides more
 * than that where a processor that goes idle is given back to a hypervisor.
 *
 * A moment is bounded, one thread in the process at a time spends it, and only
 * as long as it is of use: who finds nothing sleeps at once the next times, the
 * more of them the more often that happens.
 *
 *	if (spin_begin(&s)) {
 *		do
 *			found = look();
 *		while (!found && spin_more(&s));
 *		spin_end(&s, found);
 *	}
 */
#ifndef IMGD_SPIN_H
#define IMGD_SPIN_H

#include <stdbool.h>
#include <stdint.h>

/* Zeroes make a new one.  Used by one thread. */
struct spin {
	unsigned misses; /* in a row */
	unsigned skip;	 /* times to sleep at once */
	int64_t end_ns;
};

bool spin_begin(struct spin *s);
bool spin_more(const struct spin *s);
void spin_end(struct spin *s, bool found);

#endif
