/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Keys from passphrases: PBKDF2 and Argon2, see kdf.h.
 *
 * Limits: 2^28 hashes are minutes, and so are 64 passes of Argon2 over 4 GiB,
 * which is the most memory that cryptsetup lets it have.
 */
#include <inttypes.h>
#include <unistd.h>

#include "../core/units.h"
#include "argon2.h"
#include "gcrypt.h"
#include "hash.h"

const char *kdf_name(enum kdf_kind kind)
{
	switch (kind) {
	case KDF_PBKDF2:
		return "pbkdf2";
	case KDF_ARGON2I:
		return "argon2i";
	case KDF_ARGON2ID:
		return "argon2id";
	}
	return "";
}

/* ---- limits ------------------------------------------------------------- */

static uint64_t memory_max(void)
{
	long n = sysconf(_SC_PHYS_PAGES), len = sysconf(_SC_PAGESIZE);

	if (n <= 0 || len <= 0)
		return KDF_MEMORY_MAX;
	return min_u64(KDF_MEMORY_MAX, (uint64_t)n * ((uint64_t)len / 1024));
}

static int check_argon2(const struct kdf *k, struct err *e)
{
	uint64_t most = memory_max();

	if (!k->iterations || !k->lanes || k->lanes > ARGON2_LANES_MAX ||
	    k->memory_kib < 8 * k->lanes || k->memory_kib > most ||
	    kdf_cost(k, 0) > KDF_COST_MAX)
		return err_damaged(e,
		    "Argon2 with time %u, memory %u KiB, %u threads: must be "
		    "at most %" PRIu64 " KiB, %u threads, and 64 passes over "
		    "4 GiB",
		    k->iterations, k->memory_kib, k->lanes, most,
		    ARGON2_LANES_MAX);
	return 0;
}

/* How many digests are one key. */
static uint64_t digests(const struct kdf *k, size_t out_len)
{
	return max_u64(1, div_up(out_len, max_u64(hash_len(k->hash), 1)));
}

uint64_t kdf_cost(const struct kdf *k, size_t out_len)
{
	if (k->kind == KDF_PBKDF2)
		return k->iterations * digests(k, out_len);
	return (uint64_t)k->iterations * k->memory_kib;
}

int kdf_check(const struct kdf *k, size_t out_len, struct err *e)
{
	if (k->kind != KDF_PBKDF2)
		return check_argon2(k, e);
	if (!k->iterations || kdf_cost(k, out_len) > KDF_COST_MAX)
		return err_damaged(e,
		    "PBKDF2 with %u iterations: must be 1 to %u", k->iterations,
		    (unsigned)(KDF_COST_MAX / digests(k, out_len)));
	return 0;
}

/* ---- derivation --------------------------------------------------------- */

int kdf_derive(const struct kdf *k, const char *pass, size_t pass_len,
    uint8_t *out, size_t out_len, struct err *e)
{
	gcry_error_t code;

	crypto_ready();
	if (kdf_check(k, out_len, e))
		return -1;
	if (k->kind != KDF_PBKDF2)
		return argon2_derive(k, pass, pass_len, out, out_len, e);
	code = gcry_kdf_derive(pass, pass_len, GCRY_KDF_PBKDF2, k->hash,
	    k->salt, k->salt_len, k->iterations, out_len, out);
	return code ? crypto_failed(code, "key derivation", e) : 0;
}
