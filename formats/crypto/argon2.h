/* SPDX-License-Identifier: BSD-3-Clause */
/* Argon2 with its lanes in threads: for kdf.c alone. */
#ifndef IMGD_CRYPTO_ARGON2_H
#define IMGD_CRYPTO_ARGON2_H

#include "kdf.h"

#define ARGON2_LANES_MAX 64u

/* The numbers are such as kdf_check() lets pass. */
int argon2_derive(const struct kdf *k, const char *pass, size_t pass_len,
    uint8_t *out, size_t out_len, struct err *e);

#endif
