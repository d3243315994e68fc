/* SPDX-License-Identifier: BSD-3-Clause */
/* How fast a client may go: see meter.h. */
#include <time.h>

#include "meter.h"

#define BURST_S	    0.1 /* what an idle client saves up, in seconds */
#define WAIT_MAX_MS 1000

static double now_s(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

void meter_init(struct meter *m, uint64_t rate)
{
	*m = (struct meter){.rate = rate};
	if (rate)
		m->at_s = now_s();
}

unsigned meter_wait_ms(struct meter *m)
{
	double now, full, wait_ms;

	if (!m->rate)
		return 0;
	now = now_s();
	full = (double)m->rate * BURST_S;
	m->level += (now - m->at_s) * (double)m->rate;
	m->at_s = now;
	if (m->level > full)
		m->level = full;
	if (m->level >= 0)
		return 0;
	wait_ms = 1000 * -m->level / (double)m->rate;
	return wait_ms < WAIT_MAX_MS ? (unsigned)wait_ms + 1 : WAIT_MAX_MS;
}

void meter_take(struct meter *m, uint64_t len)
{
	if (m->rate)
		m->level -= (double)len;
}
