/* SPDX-License-Identifier: BSD-3-Clause */
/* The bytes of a secret object: see secret.h.  Messages never quote them. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "../crypto/gcrypt.h"
#include "base64.h"
#include "object.h"
#include "secret.h"
#include "textfile.h"

#define KEY_LEN	  32u /* AES-256 */
#define BLOCK_LEN 16u /* AES */

/* malloc'd, with a NUL after them. */
static uint8_t *get_bytes(struct options *o, size_t *len, struct err *e)
{
	const char *data = options_get(o, "data");
	const char *file = options_get(o, "file");
	char *copy;

	if (data && file) {
		err_usage(e, "'file' and 'data' are mutually exclusive");
		return NULL;
	}
	if (file)
		return textfile_read(AT_FDCWD, file, len, e);
	if (!data) {
		err_usage(e, "Either 'file' or 'data' must be provided");
		return NULL;
	}
	copy = strdup(data);
	if (!copy)
		err_nomem(e);
	*len = strlen(data);
	return (uint8_t *)copy;
}

/* ---- encrypted secrets --------------------------------------------------- */

/* The secret that it is encrypted with; NULL with *e set. */
static const uint8_t *get_key(const char *id, struct err *e)
{
	const struct object *x = object_find(id);

	if (!object_secret(id, e))
		return NULL;
	if (x->secret_len == KEY_LEN)
		return x->secret;
	err_usage(e, "Key should be %u bytes in length", KEY_LEN);
	return NULL;
}

static int get_iv(struct options *o, uint8_t *iv, struct err *e)
{
	const char *text = options_get(o, "iv");
	uint8_t buf[4 * BLOCK_LEN];
	size_t len = text ? strlen(text) : 0;

	if (!text)
		return err_usage(e, "IV is required to decrypt secret");
	if (len > sizeof buf)
		return err_usage(e, "IV of %zu characters: %u bytes are wanted",
		    len, BLOCK_LEN);
	memcpy(buf, text, len);
	if (base64_decode(buf, &len, e))
		return -1;
	if (len != BLOCK_LEN)
		return err_usage(e, "IV should be %u bytes in length not %zu",
		    BLOCK_LEN, len);
	memcpy(iv, buf, BLOCK_LEN);
	return 0;
}

/* In place. */
static int decrypt_blocks(const uint8_t *key, const uint8_t *iv, uint8_t *buf,
    size_t len, struct err *e)
{
	gcry_cipher_hd_t h;
	gcry_error_t rc;

	crypto_ready();
	rc = gcry_cipher_open(&h, GCRY_CIPHER_AES256, GCRY_CIPHER_MODE_CBC, 0);
	if (!rc) {
		rc = gcry_cipher_setkey(h, key, KEY_LEN);
		if (!rc)
			rc = gcry_cipher_setiv(h, iv, BLOCK_LEN);
		if (!rc)
			rc = gcry_cipher_decrypt(h, buf, len, NULL, 0);
		gcry_cipher_close(h);
	}
	return rc ? err_set(e, ERR_SYSTEM, EIO, "Unable to decrypt secret: %s",
			gcry_strerror(rc))
		  : 0;
}

/* The last block is filled up with bytes that say how many of them there are.
 */
static int remove_padding(const uint8_t *buf, size_t *len, struct err *e)
{
	uint8_t pad = buf[*len - 1];
	bool bad = !pad || pad > BLOCK_LEN;

	for (unsigned i = 1; !bad && i <= pad; i++)
		bad = buf[*len - i] != pad;
	if (bad)
		return err_usage(e,
		    "Incorrect number of padding bytes (%u) found on decrypted "
		    "data",
		    pad);
	*len -= pad;
	return 0;
}

static int decrypt(struct options *o, const uint8_t *key, uint8_t *buf,
    size_t *len, struct err *e)
{
	uint8_t iv[BLOCK_LEN];

	if (!*len || *len % BLOCK_LEN)
		return err_usage(e,
		    "Length %zu must be a multiple of block size %u", *len,
		    BLOCK_LEN);
	if (get_iv(o, iv, e) || decrypt_blocks(key, iv, buf, *len, e))
		return -1;
	return remove_padding(buf, len, e);
}

/* ---- all of it ----------------------------------------------------------- */

/* In place: what was given becomes the secret. */
static int unwrap(struct options *o, uint8_t *buf, size_t *len, struct err *e)
{
	const char *format = options_get(o, "format");
	const char *keyid = options_get(o, "keyid");
	const uint8_t *key = keyid ? get_key(keyid, e) : NULL;

	if (keyid && !key)
		return -1;
	if (format && !strcmp(format, "base64") && base64_decode(buf, len, e))
		return -1;
	return key ? decrypt(o, key, buf, len, e) : 0;
}

int secret_read(struct options *o, uint8_t **data, size_t *len, struct err *e)
{
	const char *format = options_get(o, "format");
	uint8_t *buf;
	size_t given;

	if (format && strcmp(format, "raw") && strcmp(format, "base64"))
		return err_usage(
		    e, "Parameter 'format' does not accept value '%s'", format);
	buf = get_bytes(o, &given, e);
	if (!buf)
		return -1;
	*len = given;
	if (unwrap(o, buf, len, e)) {
		explicit_bzero(buf, given);
		free(buf);
		return -1;
	}
	explicit_bzero(buf + *len, given - *len);
	*data = buf;
	return 0;
}
