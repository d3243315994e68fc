/* SPDX-License-Identifier: BSD-3-Clause */
/* Random operations on an image under test. */
#ifndef TEST_OPS_H
#define TEST_OPS_H

#include "subject.h"

/* How often the rarer things happened, for a test that they did. */
struct ops_counts {
	unsigned planned_reads, planned_writes, packed, reopened;
};

/* One operation, by the random numbers of `s`; the oracle follows. */
void ops_step(struct subject *s, struct ops_counts *n);

#endif
