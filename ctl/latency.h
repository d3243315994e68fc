/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Latencies, counted in buckets so that memory does not grow with their
 * number: 32 buckets for each power of two, so a percentile is within 3.2 %.
 */
#ifndef CTL_LATENCY_H
#define CTL_LATENCY_H

#include <stdint.h>

#define LATENCY_SUB_BITS 5u
#define LATENCY_BUCKET_N ((64u - LATENCY_SUB_BITS) << LATENCY_SUB_BITS)

struct latency {
	uint64_t n, min_ns, max_ns, sum_ns;
	uint64_t bucket[LATENCY_BUCKET_N];
};

void latency_add(struct latency *l, uint64_t ns);
void latency_merge(struct latency *l, const struct latency *other);
/* The latency that `percent` of them (0 to 100) do not exceed; 0 for none. */
uint64_t latency_percentile(const struct latency *l, double percent);

#endif
