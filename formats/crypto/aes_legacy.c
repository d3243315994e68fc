/* SPDX-License-Identifier: BSD-3-Clause */
/* The encryption of old: see aes_legacy.h. */
#include <string.h>

#include "aes_legacy.h"
#include "keymem.h"

#define KEY_LEN 16u

struct cipher *aes_legacy_cipher(const char *pass, struct err *e)
{
	uint8_t key[KEY_LEN] = {0};
	struct cipher_spec s;
	struct cipher *c = NULL;

	memcpy(key, pass, strnlen(pass, KEY_LEN));
	if (!cipher_spec_parse(&s, "aes", "cbc-plain64", KEY_LEN, e))
		c = cipher_new(&s, key, e);
	keymem_wipe(key, sizeof key);
	return c;
}
