/* SPDX-License-Identifier: BSD-3-Clause */
/* Hashes by name ("sha256"), what is made with them, and random bytes. */
#ifndef IMGD_HASH_H
#define IMGD_HASH_H

#include <stddef.h>
#include <stdint.h>

#include "../core/err.h"

#define HASH_LEN_MAX 64u

/* The number of a hash for the other functions; 0: there is none. */
int hash_find(const char *name);
/* The same with *e set. */
int hash_need(const char *name, struct err *e);
size_t hash_len(int hash);
/* The digest of some bytes. */
void hash_bytes(int hash, const void *buf, size_t len, uint8_t *out);
/* Are they equal?  Takes as long whatever they are. */
int hash_equal(const uint8_t *a, const uint8_t *b, size_t len);

int random_bytes(uint8_t *buf, size_t len, struct err *e);

#endif
