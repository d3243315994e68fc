/* SPDX-License-Identifier: BSD-3-Clause */
/* Keys from passphrases. */
#ifndef IMGD_KDF_H
#define IMGD_KDF_H

#include <stddef.h>
#include <stdint.h>

#include "../core/err.h"

#define KDF_SALT_MAX	   64u	      /* bytes */
#define KDF_ITERATIONS_MAX (1u << 28) /* of PBKDF2 */
#define KDF_MEMORY_MAX	   (4u << 20) /* KiB */
/* What one key may cost at most: see kdf_cost(). */
#define KDF_COST_MAX (1ull << 28)

enum kdf_kind { KDF_PBKDF2, KDF_ARGON2I, KDF_ARGON2ID };

struct kdf {
	enum kdf_kind kind;
	int hash;		    /* of PBKDF2 */
	uint32_t iterations;	    /* of Argon2: passes */
	uint32_t memory_kib, lanes; /* of Argon2 */
	uint8_t salt[KDF_SALT_MAX];
	size_t salt_len;
};

/* "pbkdf2", "argon2i", "argon2id" */
const char *kdf_name(enum kdf_kind kind);
/*
 * Would it take no more time and memory than anybody has a use for, and than
 * this machine has?  The numbers come from a file.
 */
int kdf_check(const struct kdf *k, size_t out_len, struct err *e);
/*
 * How long it takes, in units of somewhat less than a microsecond: hashes of
 * PBKDF2, kibibytes that Argon2 fills.
 */
uint64_t kdf_cost(const struct kdf *k, size_t out_len);
int kdf_derive(const struct kdf *k, const char *pass, size_t pass_len,
    uint8_t *out, size_t out_len, struct err *e);

/* kdf_tune.c */
/*
 * Numbers that take this machine about `ms` milliseconds for a key of that
 * length, and never too few to be safe.  Kind, hash and salt are there.
 */
int kdf_tune(struct kdf *k, size_t out_len, uint64_t ms, struct err *e);

#endif
