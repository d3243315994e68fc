/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Ciphers for sectors: see cipher.h.
 *
 * A handle of the library holds the schedule of a key and is one thread's at a
 * time.  A cipher keeps those that are idle: there are never more than threads
 * that used it at once.  `lock` guards that list and nothing else.
 */
#include <stdlib.h>
#include <string.h>

#include "../core/lock.h"
#include "../core/units.h"
#include "cipher.h"
#include "gcrypt.h"
#include "hash.h"
#include "keymem.h"
#include "twofish192.h"

#define BLOCK_MAX 16u

struct handle {
	gcry_cipher_hd_t data, iv; /* iv: for IV_ESSIV, else NULL */
	struct twofish192 *own;	   /* in place of `data`, or NULL */
	struct handle *next;
};

struct cipher {
	struct cipher_spec spec;
	uint8_t *key; /* CIPHER_KEY_MAX, then HASH_LEN_MAX for the IVs */
	struct mutex lock;
	struct handle *idle;
};

/* ---- names ------------------------------------------------------------- */

/* A cipher with keys of that many bytes; those of XTS are twice as long. */
static const struct {
	const char *name;
	size_t key_len;
	int algo;
} algos[] = {
    {"aes", 16, GCRY_CIPHER_AES128},
    {"aes", 24, GCRY_CIPHER_AES192},
    {"aes", 32, GCRY_CIPHER_AES256},
    {"serpent", 16, GCRY_CIPHER_SERPENT128},
    {"serpent", 24, GCRY_CIPHER_SERPENT192},
    {"serpent", 32, GCRY_CIPHER_SERPENT256},
    {"twofish", 16, GCRY_CIPHER_TWOFISH128},
    {"twofish", 24, TWOFISH192_ALGO},
    {"twofish", 32, GCRY_CIPHER_TWOFISH},
    {"cast5", 16, GCRY_CIPHER_CAST5},
    {"camellia", 16, GCRY_CIPHER_CAMELLIA128},
    {"camellia", 24, GCRY_CIPHER_CAMELLIA192},
    {"camellia", 32, GCRY_CIPHER_CAMELLIA256},
    {"blowfish", 16, GCRY_CIPHER_BLOWFISH},
    {"blowfish", 32, GCRY_CIPHER_BLOWFISH},
    {"blowfish", 56, GCRY_CIPHER_BLOWFISH},
    {"seed", 16, GCRY_CIPHER_SEED},
    {"des3_ede", 24, GCRY_CIPHER_3DES},
    {"des", 8, GCRY_CIPHER_DES},
    {"sm4", 16, GCRY_CIPHER_SM4},
};

static bool have_algo(int algo)
{
	return algo == TWOFISH192_ALGO || !gcry_cipher_test_algo(algo);
}

static int find_algo(const char *name, size_t key_len)
{
	for (size_t i = 0; i < ARRAY_N(algos); i++)
		if (!strcmp(algos[i].name, name) &&
		    algos[i].key_len == key_len && have_algo(algos[i].algo))
			return algos[i].algo;
	return 0;
}

static const struct {
	const char *name;
	int mode;
} modes[] = {
    {"xts", GCRY_CIPHER_MODE_XTS},
    {"cbc", GCRY_CIPHER_MODE_CBC},
    {"ctr", GCRY_CIPHER_MODE_CTR},
    {"ecb", GCRY_CIPHER_MODE_ECB},
};

static const struct {
	const char *name;
	enum cipher_iv iv;
} ivs[] = {
    {"null", IV_NULL},
    {"plain", IV_PLAIN},
    {"plain64", IV_PLAIN64},
    {"plain64be", IV_PLAIN64BE},
    {"essiv", IV_ESSIV},
    {"benbi", IV_BENBI},
};

static bool is_word(const char *text, size_t len, const char *word)
{
	return strlen(word) == len && !memcmp(text, word, len);
}

/* The part up to the first dash. */
static int parse_mode(struct cipher_spec *s, const char *text)
{
	size_t len = strcspn(text, "-");

	for (size_t i = 0; i < ARRAY_N(modes); i++)
		if (is_word(text, len, modes[i].name)) {
			s->mode = modes[i].mode;
			return 0;
		}
	return -1;
}

/* What follows it: "-plain64", "-essiv:sha256". */
static int parse_iv(struct cipher_spec *s, const char *name, const char *mode)
{
	const char *text = strchr(mode, '-');
	size_t len;

	s->iv = IV_NONE;
	if (s->mode == GCRY_CIPHER_MODE_ECB)
		return 0;
	if (!text)
		return -1;
	text++;
	len = strcspn(text, ":");
	for (size_t i = 0; i < ARRAY_N(ivs); i++)
		if (is_word(text, len, ivs[i].name))
			s->iv = ivs[i].iv;
	if (s->iv == IV_NONE || (s->iv == IV_ESSIV) != (text[len] == ':'))
		return -1;
	if (s->iv != IV_ESSIV)
		return 0;
	s->iv_hash = hash_find(text + len + 1);
	if (s->iv_hash)
		s->iv_algo = find_algo(name, hash_len(s->iv_hash));
	return s->iv_algo ? 0 : -1;
}

int cipher_spec_parse(struct cipher_spec *s, const char *name, const char *mode,
    size_t key_len, struct err *e)
{
	crypto_ready();
	*s = (struct cipher_spec){.key_len = key_len, .sector_len = SECTOR_LEN};
	if (!parse_mode(s, mode)) {
		bool xts = s->mode == GCRY_CIPHER_MODE_XTS;

		if (!xts || key_len % 2 == 0)
			s->algo = find_algo(name, xts ? key_len / 2 : key_len);
	}
	if (s->algo == TWOFISH192_ALGO)
		s->block_len = TWOFISH192_BLOCK_LEN;
	else if (s->algo)
		s->block_len = gcry_cipher_get_algo_blklen(s->algo);
	if (s->algo && !parse_iv(s, name, mode) &&
	    (s->mode != GCRY_CIPHER_MODE_XTS || s->block_len == BLOCK_MAX))
		return 0;
	return err_unsupported(e,
	    "Cipher '%s' in mode '%s' with a key of %zu bytes is not supported",
	    name, mode, key_len);
}

/* ---- handles ----------------------------------------------------------- */

static int open_one(gcry_cipher_hd_t *out, int algo, int mode,
    const uint8_t *key, size_t key_len, struct err *e)
{
	gcry_error_t code = gcry_cipher_open(out, algo, mode, 0);

	if (!code)
		code = gcry_cipher_setkey(*out, key, key_len);
	return code ? crypto_failed(code, "cipher", e) : 0;
}

static void handle_free(struct handle *h)
{
	if (!h)
		return;
	gcry_cipher_close(h->data);
	gcry_cipher_close(h->iv);
	twofish192_free(h->own);
	free(h);
}

static int open_data(const struct cipher *c, struct handle *h, struct err *e)
{
	const struct cipher_spec *s = &c->spec;

	if (s->algo != TWOFISH192_ALGO)
		return open_one(
		    &h->data, s->algo, s->mode, c->key, s->key_len, e);
	h->own = twofish192_new(c->key, s->key_len, e);
	return h->own ? 0 : -1;
}

static struct handle *handle_new(const struct cipher *c, struct err *e)
{
	const struct cipher_spec *s = &c->spec;
	struct handle *h = calloc(1, sizeof *h);

	if (!h) {
		err_nomem(e);
		return NULL;
	}
	if (!open_data(c, h, e) &&
	    (s->iv != IV_ESSIV ||
		!open_one(&h->iv, s->iv_algo, GCRY_CIPHER_MODE_ECB,
		    c->key + CIPHER_KEY_MAX, hash_len(s->iv_hash), e)))
		return h;
	handle_free(h);
	return NULL;
}

static struct handle *handle_take(struct cipher *c, struct err *e)
{
	struct handle *h;

	mutex_lock(&c->lock);
	h = c->idle;
	if (h)
		c->idle = h->next;
	mutex_unlock(&c->lock);
	return h ? h : handle_new(c, e);
}

static void handle_put(struct cipher *c, struct handle *h)
{
	mutex_lock(&c->lock);
	h->next = c->idle;
	c->idle = h;
	mutex_unlock(&c->lock);
}

/* ---- ciphers ----------------------------------------------------------- */

struct cipher *cipher_new(
    const struct cipher_spec *s, const uint8_t *key, struct err *e)
{
	struct cipher *c = calloc(1, sizeof *c);
	struct handle *h;

	if (!c) {
		err_nomem(e);
		return NULL;
	}
	c->spec = *s;
	mutex_init(&c->lock);
	c->key = keymem_new(CIPHER_KEY_MAX + HASH_LEN_MAX, e);
	if (c->key) {
		memcpy(c->key, key, s->key_len);
		if (s->iv == IV_ESSIV)
			hash_bytes(s->iv_hash, key, s->key_len,
			    c->key + CIPHER_KEY_MAX);
		/* A key that the cipher refuses shows here. */
		h = handle_new(c, e);
		if (h) {
			handle_put(c, h);
			return c;
		}
	}
	cipher_free(c);
	return NULL;
}

void cipher_free(struct cipher *c)
{
	struct handle *h;

	if (!c)
		return;
	while ((h = c->idle)) {
		c->idle = h->next;
		handle_free(h);
	}
	keymem_free(c->key, CIPHER_KEY_MAX + HASH_LEN_MAX);
	mutex_destroy(&c->lock);
	free(c);
}

uint32_t cipher_sector_len(const struct cipher *c)
{
	return c->spec.sector_len;
}

/* ---- ciphering --------------------------------------------------------- */

static gcry_error_t make_iv(const struct cipher_spec *s, struct handle *h,
    uint64_t sector, uint8_t iv[BLOCK_MAX])
{
	uint8_t *end = iv + s->block_len;

	memset(iv, 0, BLOCK_MAX);
	switch (s->iv) {
	case IV_NONE:
	case IV_NULL:
		break;
	case IV_PLAIN:
		put_le32(iv, (uint32_t)sector);
		break;
	case IV_PLAIN64:
		put_le64(iv, sector);
		break;
	case IV_PLAIN64BE:
		put_be64(end - 8, sector);
		break;
	case IV_BENBI:
		put_be64(end - 8, sector * (SECTOR_LEN / s->block_len) + 1);
		break;
	case IV_ESSIV:
		put_le64(iv, sector);
		return gcry_cipher_encrypt(h->iv, iv, s->block_len, NULL, 0);
	}
	return 0;
}

static gcry_error_t set_iv(
    const struct cipher_spec *s, struct handle *h, const uint8_t *iv)
{
	if (s->iv == IV_NONE)
		return 0;
	return s->mode == GCRY_CIPHER_MODE_CTR
		   ? gcry_cipher_setctr(h->data, iv, s->block_len)
		   : gcry_cipher_setiv(h->data, iv, s->block_len);
}

static gcry_error_t run_one(const struct cipher_spec *s, struct handle *h,
    bool encrypt, uint8_t *dst, const uint8_t *src, uint64_t sector)
{
	uint8_t iv[BLOCK_MAX];
	gcry_error_t code = make_iv(s, h, sector, iv);
	size_t n = s->sector_len;

	if (h->own && !code)
		twofish192_run(h->own, s->mode, encrypt, dst, src, n, iv);
	else if (!code)
		code = set_iv(s, h, iv);
	if (h->own || code)
		return code;
	return (encrypt ? gcry_cipher_encrypt : gcry_cipher_decrypt)(
	    h->data, dst, n, src, n);
}

static gcry_error_t run(const struct cipher_spec *s, struct handle *h,
    bool encrypt, uint8_t *dst, const uint8_t *src, size_t len, uint64_t sector)
{
	gcry_error_t code = 0;

	for (size_t at = 0; !code && at < len; at += s->sector_len)
		code = run_one(s, h, encrypt, dst + at, src + at,
		    sector + at / SECTOR_LEN);
	return code;
}

static int start(struct cipher *c, bool encrypt, void *dst, const void *src,
    size_t len, uint64_t sector, struct err *e)
{
	struct handle *h = handle_take(c, e);
	gcry_error_t code;

	if (!h)
		return -1;
	code = run(
	    &c->spec, h, encrypt, dst, src, len, sector + c->spec.first_sector);
	handle_put(c, h);
	return code ? crypto_failed(code, "cipher", e) : 0;
}

int cipher_encrypt(struct cipher *c, void *dst, const void *src, size_t len,
    uint64_t sector, struct err *e)
{
	return start(c, true, dst, src, len, sector, e);
}

int cipher_decrypt(struct cipher *c, void *dst, const void *src, size_t len,
    uint64_t sector, struct err *e)
{
	return start(c, false, dst, src, len, sector, e);
}
