/* SPDX-License-Identifier: BSD-3-Clause */
/* Keys from passphrases. */
#ifndef IMGD_KDF_H
#define IMGD_KDF_H

#include <stddef.h>
#include <stdint.h>

#include "../core/err.h"

#define KDF_SALT_MAX 64u /* bytes */

enum kdf_kind { KDF_PBKDF2, KDF_ARGON2I, KDF_ARGON2ID };

struct kdf {
	enum kdf_kind kind;
	int hash;		    /* of PBKDF2 */
	uint32_t iterations;	    /* of Argon2: passes */
	uint32_t memory_kib, lanes; /* of Argon2 */
	uint8_t salt[KDF_SALT_MAX];
	size_t salt_len;
};

/*
 * Would it take no more time and memory than anybody has a use for?  The
 * numbers come from a file.
 */
int kdf_check(const struct kdf *k, struct err *e);
int kdf_derive(const struct kdf *k, const char *pass, size_t pass_len,
    uint8_t *out, size_t out_len, struct err *e);
/*
 * The iterations of PBKDF2 that take this machine about `ms` milliseconds for
 * a key of that length; never fewer than 1000.
 */
int kdf_iterations(
    int hash, size_t key_len, uint64_t ms, uint32_t *out, struct err *e);

#endif
