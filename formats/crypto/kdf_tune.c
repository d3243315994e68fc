/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * How much work a new key slot shall ask for: see kdf.h.  Time is that of the
 * processor, so that a machine which is busy gets the same numbers.
 *
 * Argon2 gets what cryptsetup gives it: at least 4 passes over at least 64 MiB;
 * more memory up to 1 GiB or half of the machine's, then more passes, until the
 * time is spent; as many lanes as processors, 4 at most.
 */
#include <time.h>
#include <unistd.h>

#include "../core/crew.h"
#include "../core/units.h"
#include "hash.h"
#include "kdf.h"

#define ITERATIONS_MIN 1000u
#define MEASURE_NS     20000000ull
#define MEMORY_MIN     (64u << 10) /* KiB */
#define MEMORY_MAX     (1u << 20)
#define PASSES_MIN     4u
#define LANES_MAX      4u
#define MEASURED_KIB   (16u << 10)

static uint64_t cpu_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* How long it takes, nanoseconds, at least 1. */
static int measure(
    const struct kdf *k, size_t out_len, uint64_t *ns, struct err *e)
{
	uint64_t began = cpu_ns();
	uint8_t key[512];

	if (kdf_derive(k, "x", 1, key, min_u64(out_len, sizeof key), e))
		return -1;
	*ns = max_u64(cpu_ns() - began, 1);
	return 0;
}

static int tune_pbkdf2(
    struct kdf *k, size_t out_len, uint64_t ms, struct err *e)
{
	uint64_t took = 0, most = KDF_COST_MAX;
	uint32_t n = 1u << 11;

	k->iterations = ITERATIONS_MIN;
	if (!ms)
		return 0;
	k->iterations = 1;
	most /= kdf_cost(k, out_len);
	while (took < MEASURE_NS && n < most / 2) {
		n *= 2;
		k->iterations = n;
		if (measure(k, out_len, &took, e))
			return -1;
	}
	k->iterations = (uint32_t)min_u64(
	    most, max_u64(ITERATIONS_MIN,
		      (uint64_t)((double)n * 1e6 * (double)ms / (double)took)));
	return 0;
}

/* KiB that a new slot may ask for; every machine that opens it needs them. */
static uint64_t memory_max(void)
{
	long n = sysconf(_SC_PHYS_PAGES), len = sysconf(_SC_PAGESIZE);
	uint64_t half =
	    n > 0 && len > 0 ? (uint64_t)n / 2 * ((uint64_t)len / 1024) : 0;

	return max_u64(MEMORY_MIN, min_u64(MEMORY_MAX, half));
}

static int tune_argon2(struct kdf *k, uint64_t ms, struct err *e)
{
	uint64_t took, work, memory;

	k->iterations = PASSES_MIN;
	k->memory_kib = MEASURED_KIB;
	k->lanes = 1;
	if (measure(k, HASH_LEN_MAX, &took, e))
		return -1;
	k->lanes = (uint32_t)min_u64(crew_default(), LANES_MAX);
	work = (uint64_t)((double)ms * 1e6 * k->lanes *
			  (double)(PASSES_MIN * MEASURED_KIB) / (double)took);
	memory = min_u64(max_u64(work / PASSES_MIN, MEMORY_MIN), memory_max());
	k->memory_kib = (uint32_t)memory;
	k->iterations = (uint32_t)min_u64(
	    max_u64(work / memory, PASSES_MIN), KDF_COST_MAX / memory);
	return 0;
}

int kdf_tune(struct kdf *k, size_t out_len, uint64_t ms, struct err *e)
{
	return k->kind == KDF_PBKDF2 ? tune_pbkdf2(k, out_len, ms, e)
				     : tune_argon2(k, ms, e);
}
