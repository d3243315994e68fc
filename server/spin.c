/* SPDX-License-Identifier: BSD-3-Clause */
/* Looking again for a moment before sleeping: see spin.h. */
#include <stdatomic.h>
#include <time.h>

#include "spin.h"

#define SPIN_NS	   50000 /* a reply's way there, and the next request's back */
#define MISSES_MAX 8u	 /* then once in 256 times */

static atomic_flag taken = ATOMIC_FLAG_INIT;

static int64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

bool spin_begin(struct spin *s)
{
	if (s->skip) {
		s->skip--;
		return false;
	}
	if (atomic_flag_test_and_set(&taken))
		return false;
	s->end_ns = now_ns() + SPIN_NS;
	return true;
}

bool spin_more(const struct spin *s)
{
	return now_ns() < s->end_ns;
}

void spin_end(struct spin *s, bool found)
{
	atomic_flag_clear(&taken);
	if (found) {
		s->misses = 0;
		return;
	}
	if (s->misses < MISSES_MAX)
		s->misses++;
	s->skip = (1u << s->misses) - 1;
}
