/* SPDX-License-Identifier: BSD-3-Clause */
/* Random numbers for tests: the splitmix64 generator. */
#include <string.h>

#include "rng.h"

uint64_t rng_u64(struct rng *r)
{
	uint64_t z = r->state += 0x9e3779b97f4a7c15;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
	z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
	return z ^ (z >> 31);
}

uint64_t rng_below(struct rng *r, uint64_t n)
{
	return rng_u64(r) % n;
}

void rng_fill(struct rng *r, void *buf, size_t len)
{
	uint8_t *p = buf;

	while (len) {
		uint64_t v = rng_u64(r);
		size_t n = len < sizeof v ? len : sizeof v;

		memcpy(p, &v, n);
		p += n;
		len -= n;
	}
}
