/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Keys from passphrases: PBKDF2 and Argon2, see kdf.h.
 *
 * Limits: 2^28 iterations of PBKDF2 are minutes; Argon2 takes at most 4 GiB,
 * which is also the most that cryptsetup makes, and at most 64 passes over so
 * much.
 */
#include <time.h>

#include "../core/units.h"
#include "gcrypt.h"
#include "hash.h"
#include "kdf.h"

#define ITERATIONS_MIN 1000u
#define ITERATIONS_MAX (1u << 28)
#define MEMORY_MAX     (4u << 20) /* KiB */
#define WORK_MAX       (64ull * MEMORY_MAX)
#define LANES_MAX      64u
#define MEASURE_NS     20000000ull

static int check_argon2(const struct kdf *k, struct err *e)
{
	if (!k->iterations || !k->lanes || k->lanes > LANES_MAX ||
	    k->memory_kib < 8 * k->lanes || k->memory_kib > MEMORY_MAX ||
	    (uint64_t)k->iterations * k->memory_kib > WORK_MAX)
		return err_damaged(e,
		    "Argon2 with time %u, memory %u KiB, %u threads: must be "
		    "at most %u KiB, %u threads, and 64 passes over all of "
		    "that memory",
		    k->iterations, k->memory_kib, k->lanes, MEMORY_MAX,
		    LANES_MAX);
	return 0;
}

int kdf_check(const struct kdf *k, struct err *e)
{
	if (k->kind != KDF_PBKDF2)
		return check_argon2(k, e);
	if (!k->iterations || k->iterations > ITERATIONS_MAX)
		return err_damaged(e,
		    "PBKDF2 with %u iterations: must be 1 to %u", k->iterations,
		    ITERATIONS_MAX);
	return 0;
}

static gcry_error_t pbkdf2(int hash, const uint8_t *salt, size_t salt_len,
    uint32_t iterations, const char *pass, size_t pass_len, uint8_t *out,
    size_t out_len)
{
	return gcry_kdf_derive(pass, pass_len, GCRY_KDF_PBKDF2, hash, salt,
	    salt_len, iterations, out_len, out);
}

static gcry_error_t argon2(const struct kdf *k, const char *pass,
    size_t pass_len, uint8_t *out, size_t out_len)
{
	const unsigned long param[] = {
	    out_len, k->iterations, k->memory_kib, k->lanes};
	int kind =
	    k->kind == KDF_ARGON2I ? GCRY_KDF_ARGON2I : GCRY_KDF_ARGON2ID;
	gcry_kdf_hd_t h;
	gcry_error_t code;

	code = gcry_kdf_open(&h, GCRY_KDF_ARGON2, kind, param, ARRAY_N(param),
	    pass, pass_len, k->salt, k->salt_len, NULL, 0, NULL, 0);
	if (code)
		return code;
	code = gcry_kdf_compute(h, NULL);
	if (!code)
		code = gcry_kdf_final(h, out_len, out);
	gcry_kdf_close(h);
	return code;
}

int kdf_derive(const struct kdf *k, const char *pass, size_t pass_len,
    uint8_t *out, size_t out_len, struct err *e)
{
	gcry_error_t code;

	crypto_ready();
	if (kdf_check(k, e))
		return -1;
	if (k->kind == KDF_PBKDF2)
		code = pbkdf2(k->hash, k->salt, k->salt_len, k->iterations,
		    pass, pass_len, out, out_len);
	else
		code = argon2(k, pass, pass_len, out, out_len);
	return code ? crypto_failed(code, "key derivation", e) : 0;
}

static uint64_t cpu_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

int kdf_iterations(
    int hash, size_t key_len, uint64_t ms, uint32_t *out, struct err *e)
{
	uint8_t salt[32] = {0}, key[512];
	uint64_t took = 0;
	uint32_t n;

	crypto_ready();
	key_len = min_u64(key_len, sizeof key);
	for (n = 1u << 12; took < MEASURE_NS && n < ITERATIONS_MAX; n *= 2) {
		uint64_t began = cpu_ns();
		gcry_error_t code =
		    pbkdf2(hash, salt, sizeof salt, n, "x", 1, key, key_len);

		if (code)
			return crypto_failed(code, "key derivation", e);
		took = cpu_ns() - began;
	}
	/* The loop has doubled it once more. */
	*out = (uint32_t)min_u64(
	    ITERATIONS_MAX, max_u64(ITERATIONS_MIN,
				(uint64_t)((double)(n / 2) * 1e6 * (double)ms /
					   (double)max_u64(took, 1))));
	return 0;
}
