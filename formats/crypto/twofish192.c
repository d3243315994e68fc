/* SPDX-License-Identifier: BSD-3-Clause */
/* Twofish with keys of 192 bits, by nettle: see twofish192.h. */
#include <stdlib.h>

#include <gcrypt.h>
#include <nettle/cbc.h>
#include <nettle/ctr.h>
#include <nettle/twofish.h>
#include <nettle/xts.h>

#include "keymem.h"
#include "twofish192.h"

struct twofish192 {
	struct twofish_ctx data, tweak; /* tweak: of XTS */
};

struct twofish192 *twofish192_new(const uint8_t *key, size_t len, struct err *e)
{
	struct twofish192 *t = (void *)keymem_new(sizeof *t, e);

	if (!t)
		return NULL;
	twofish192_set_key(&t->data, key);
	if (len > TWOFISH192_KEY_LEN)
		twofish192_set_key(&t->tweak, key + TWOFISH192_KEY_LEN);
	return t;
}

void twofish192_free(struct twofish192 *t)
{
	keymem_free((uint8_t *)t, sizeof *t);
}

static void encipher(
    const void *key, size_t len, uint8_t *dst, const uint8_t *src)
{
	twofish_encrypt(key, len, dst, src);
}

static void decipher(
    const void *key, size_t len, uint8_t *dst, const uint8_t *src)
{
	twofish_decrypt(key, len, dst, src);
}

void twofish192_run(const struct twofish192 *t, int mode, bool encrypt,
    uint8_t *dst, const uint8_t *src, size_t len, uint8_t *iv)
{
	const size_t block = TWOFISH192_BLOCK_LEN;

	if (mode == GCRY_CIPHER_MODE_CTR)
		ctr_crypt(&t->data, encipher, block, iv, len, dst, src);
	else if (mode == GCRY_CIPHER_MODE_ECB)
		(encrypt ? encipher : decipher)(&t->data, len, dst, src);
	else if (mode == GCRY_CIPHER_MODE_CBC && encrypt)
		cbc_encrypt(&t->data, encipher, block, iv, len, dst, src);
	else if (mode == GCRY_CIPHER_MODE_CBC)
		cbc_decrypt(&t->data, decipher, block, iv, len, dst, src);
	else if (encrypt)
		xts_encrypt_message(
		    &t->data, &t->tweak, encipher, iv, len, dst, src);
	else
		xts_decrypt_message(
		    &t->data, &t->tweak, decipher, encipher, iv, len, dst, src);
}
