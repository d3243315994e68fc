/* SPDX-License-Identifier: BSD-3-Clause */
/* Twofish with keys of 192 bits, which libgcrypt has not: for cipher.c alone.
 */
#ifndef IMGD_CRYPTO_TWOFISH192_H
#define IMGD_CRYPTO_TWOFISH192_H

#include "cipher.h"

#define TWOFISH192_KEY_LEN   24u
#define TWOFISH192_BLOCK_LEN 16u
#define TWOFISH192_ALGO	     (-192) /* in cipher_spec; no number of libgcrypt */

struct twofish192;

/* The key has 48 bytes in mode XTS, else 24.  NULL on failure. */
struct twofish192 *twofish192_new(
    const uint8_t *key, size_t len, struct err *e);
void twofish192_free(struct twofish192 *t); /* NULL is allowed; it is wiped */
/* One crypt sector; `mode` is libgcrypt's.  The vector is changed. */
void twofish192_run(const struct twofish192 *t, int mode, bool encrypt,
    uint8_t *dst, const uint8_t *src, size_t len, uint8_t *iv);

#endif
