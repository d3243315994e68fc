/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Ciphers for sectors: how disks are encrypted.
 *
 * A crypt sector is what is ciphered at once, with an initialisation vector
 * that is made from its number; numbers count 512 bytes, whatever the length
 * of a crypt sector is.  The names are those of the Linux kernel: cipher
 * "aes", mode "xts-plain64" or "cbc-essiv:sha256" or "ecb".
 *
 * Threads: any number may use one cipher at a time; no lock is held while
 * bytes are ciphered.
 */
#ifndef IMGD_CIPHER_H
#define IMGD_CIPHER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../core/err.h"

#define CIPHER_KEY_MAX 512u /* bytes */

enum cipher_iv {
	IV_NONE, /* mode ecb */
	IV_NULL,
	IV_PLAIN,     /* 32 bits, little-endian */
	IV_PLAIN64,   /* 64 bits, little-endian */
	IV_PLAIN64BE, /* 64 bits, big-endian, at the end */
	IV_ESSIV,     /* the 64 bits enciphered with a hash of the key */
	IV_BENBI,     /* the number of the first block, big-endian, from 1 */
};

struct cipher_spec {
	int algo, mode; /* of libgcrypt */
	enum cipher_iv iv;
	int iv_hash, iv_algo; /* for IV_ESSIV; else 0 */
	size_t key_len, block_len;
	uint32_t sector_len;   /* of a crypt sector: 512 to 4096 */
	uint64_t first_sector; /* added to every sector number */
};

struct cipher;

/*
 * What these names mean with a key of `key_len` bytes; ERR_UNSUPPORTED where
 * it cannot be done.  Names need not be sane.  Crypt sectors of 512 bytes.
 */
int cipher_spec_parse(struct cipher_spec *s, const char *name, const char *mode,
    size_t key_len, struct err *e);

/* The key is copied.  NULL on failure. */
struct cipher *cipher_new(
    const struct cipher_spec *s, const uint8_t *key, struct err *e);
void cipher_free(struct cipher *c); /* NULL is allowed; keys are wiped */
uint32_t cipher_sector_len(const struct cipher *c);

/*
 * Whole crypt sectors, the first of which is number `sector`.  dst and src may
 * be the same, but not overlap otherwise.
 */
int cipher_encrypt(struct cipher *c, void *dst, const void *src, size_t len,
    uint64_t sector, struct err *e);
int cipher_decrypt(struct cipher *c, void *dst, const void *src, size_t len,
    uint64_t sector, struct err *e);

#endif
