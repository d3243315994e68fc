/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * How fast a client may go: a bucket that fills at its rate.  What is taken may
 * leave a debt, and nothing more is to be taken until it is paid; so one
 * request of any size always passes, and the mean is kept.
 *
 * Threads: one client's reader.
 */
#ifndef IMGD_METER_H
#define IMGD_METER_H

#include <stdint.h>

struct meter {
	uint64_t rate; /* bytes a second; 0: no limit */
	double level;  /* bytes; below 0: the debt */
	double at_s;   /* when that was so */
};

void meter_init(struct meter *m, uint64_t rate);
/* Milliseconds until something may be taken; 0: now. */
unsigned meter_wait_ms(struct meter *m);
void meter_take(struct meter *m, uint64_t len);

#endif
