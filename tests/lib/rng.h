/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Random numbers for tests: the same seed gives the same numbers everywhere.
 * Not thread-safe: one struct for each thread.
 */
#ifndef TEST_RNG_H
#define TEST_RNG_H

#include <stddef.h>
#include <stdint.h>

struct rng {
	uint64_t state; /* any seed */
};

uint64_t rng_u64(struct rng *r);
/* 0 <= value < n; n > 0. */
uint64_t rng_below(struct rng *r, uint64_t n);
void rng_fill(struct rng *r, void *buf, size_t len);

#endif
