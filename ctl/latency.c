/* SPDX-License-Identifier: BSD-3-Clause */
/* Latencies in buckets: see latency.h. */
#include "latency.h"

#include "formats/core/units.h"

#define SUB_N (1u << LATENCY_SUB_BITS)

/* Exact below SUB_N; then the top LATENCY_SUB_BITS + 1 bits choose. */
static unsigned bucket_of(uint64_t ns)
{
	unsigned shift;

	if (ns < SUB_N)
		return (unsigned)ns;
	shift = log2_u64(ns) - LATENCY_SUB_BITS;
	return (unsigned)((shift << LATENCY_SUB_BITS) + (ns >> shift));
}

/* The largest value of a bucket. */
static uint64_t bucket_max(unsigned i)
{
	unsigned shift;

	if (i < SUB_N)
		return i;
	shift = (i >> LATENCY_SUB_BITS) - 1;
	return ((uint64_t)(i - (shift << LATENCY_SUB_BITS)) << shift) +
	       ((1ull << shift) - 1);
}

void latency_add(struct latency *l, uint64_t ns)
{
	l->min_ns = l->n ? min_u64(l->min_ns, ns) : ns;
	l->max_ns = max_u64(l->max_ns, ns);
	l->sum_ns += ns;
	l->n++;
	l->bucket[bucket_of(ns)]++;
}

void latency_merge(struct latency *l, const struct latency *other)
{
	if (!other->n)
		return;
	l->min_ns = l->n ? min_u64(l->min_ns, other->min_ns) : other->min_ns;
	l->max_ns = max_u64(l->max_ns, other->max_ns);
	l->sum_ns += other->sum_ns;
	l->n += other->n;
	for (unsigned i = 0; i < LATENCY_BUCKET_N; i++)
		l->bucket[i] += other->bucket[i];
}

uint64_t latency_percentile(const struct latency *l, double percent)
{
	double want = percent * (double)l->n / 100;
	uint64_t seen = 0;

	for (unsigned i = 0; i < LATENCY_BUCKET_N; i++) {
		seen += l->bucket[i];
		if (l->bucket[i] && (double)seen >= want)
			return min_u64(bucket_max(i), l->max_ns);
	}
	return 0;
}
