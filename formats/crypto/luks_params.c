/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The words that users choose algorithms of LUKS with ("aes-256", "xts",
 * "plain64"), and those of the file ("aes", "xts-plain64", 64 bytes).
 */
#include <stdio.h>
#include <string.h>

#include "../core/object.h"
#include "../core/units.h"
#include "luks.h"

static const struct alg {
	const char *user, *file;
	size_t key_len; /* without XTS */
} algs[] = {
    {"aes-128", "aes", 16},
    {"aes-192", "aes", 24},
    {"aes-256", "aes", 32},
    {"cast5-128", "cast5", 16},
    {"serpent-128", "serpent", 16},
    {"serpent-192", "serpent", 24},
    {"serpent-256", "serpent", 32},
    {"twofish-128", "twofish", 16},
    {"twofish-192", "twofish", 24},
    {"twofish-256", "twofish", 32},
    {"sm4", "sm4", 16},
    {"des", "des", 8},
    {"3des", "des3_ede", 24},
    {"camellia-128", "camellia", 16},
    {"camellia-192", "camellia", 24},
    {"camellia-256", "camellia", 32},
};

static const char *const mode_words[] = {"ecb", "cbc", "xts", "ctr", NULL};
static const char *const iv_words[] = {"plain", "plain64", "essiv", NULL};
static const char *const hash_words[] = {"md5", "sha1", "sha224", "sha256",
    "sha384", "sha512", "ripemd160", "sm3", "whirlpool", NULL};

static const char *const kdf1_words[] = {"pbkdf2", NULL};
static const char *const kdf2_words[] = {"argon2id", "pbkdf2", NULL};

/* ---- names of the file ------------------------------------------------- */

void luks_mode_split(const char *text, struct luks_mode *m)
{
	size_t len = strcspn(text, "-");

	*m = (struct luks_mode){0};
	snprintf(m->mode, sizeof m->mode, "%.*s", (int)len, text);
	if (!text[len])
		return;
	text += len + 1;
	len = strcspn(text, ":");
	snprintf(m->iv, sizeof m->iv, "%.*s", (int)len, text);
	if (text[len])
		snprintf(m->iv_hash, sizeof m->iv_hash, "%s", text + len + 1);
}

bool luks_cipher_alg(const struct luks *l, char *out, size_t size)
{
	size_t len = l->key_len;

	if (!strncmp(l->mode, "xts", 3))
		len /= 2;
	for (size_t i = 0; i < ARRAY_N(algs); i++) {
		if (strcmp(algs[i].file, l->cipher) || algs[i].key_len != len)
			continue;
		snprintf(out, size, "%s", algs[i].user);
		return true;
	}
	snprintf(out, size, "%s-%zu", l->cipher, 8 * len);
	return false;
}

/* ---- options ----------------------------------------------------------- */

static int refuse_word(const char *key, const char *value, struct err *e)
{
	return err_usage(
	    e, "Parameter '%s' does not accept value '%s'", key, value);
}

/* One of some words; `given` where the option is not there. */
static const char *get_word(struct options *o, const char *key,
    const char *const *words, const char *given, struct err *e)
{
	const char *value = options_get(o, key);

	if (!value)
		return given;
	for (; *words; words++)
		if (!strcmp(*words, value))
			return value;
	refuse_word(key, value, e);
	return NULL;
}

static const struct alg *get_alg(struct options *o, struct err *e)
{
	const char *value = options_get(o, "cipher-alg");

	if (!value)
		value = "aes-256";
	for (size_t i = 0; i < ARRAY_N(algs); i++)
		if (!strcmp(algs[i].user, value))
			return &algs[i];
	refuse_word("cipher-alg", value, e);
	return NULL;
}

static int put_mode(struct luks_params *p, const char *mode, const char *iv,
    const char *iv_hash)
{
	return snprintf(p->mode, sizeof p->mode, "%s-%s%s%s", mode, iv,
	    iv_hash ? ":" : "", iv_hash ? iv_hash : "");
}

/* The names of the file have 31 bytes at most: all of ours are shorter. */
static int read_algs(struct options *o, struct luks_params *p, struct err *e)
{
	const struct alg *alg = get_alg(o, e);
	const char *mode = get_word(o, "cipher-mode", mode_words, "xts", e);
	const char *iv = get_word(o, "ivgen-alg", iv_words, "plain64", e);
	const char *iv_hash =
	    get_word(o, "ivgen-hash-alg", hash_words, "sha256", e);
	struct cipher_spec s;

	p->hash = get_word(o, "hash-alg", hash_words, "sha256", e);
	if (!alg || !mode || !iv || !iv_hash || !p->hash)
		return -1;
	if (strcmp(iv, "essiv"))
		iv_hash = NULL;
	snprintf(p->cipher, sizeof p->cipher, "%s", alg->file);
	put_mode(p, mode, iv, iv_hash);
	p->key_len = alg->key_len * (strcmp(mode, "xts") ? 1 : 2);
	if (!cipher_spec_parse(&s, p->cipher, p->mode, p->key_len, e))
		return hash_need(p->hash, e) ? 0 : -1;
	return -1;
}

/* What a passphrase becomes a key with is a choice in LUKS2 alone. */
static int read_version(struct options *o, struct luks_params *p, struct err *e)
{
	uint64_t version = 1;
	const char *kdf;

	if (options_u64(o, "version", &version, e) < 0)
		return -1;
	if (version != 1 && version != 2)
		return err_usage(
		    e, "Parameter 'version' must be 1 or 2: the one of LUKS");
	p->version = (unsigned)version;
	kdf = get_word(o, "pbkdf", version == 1 ? kdf1_words : kdf2_words,
	    version == 1 ? "pbkdf2" : "argon2id", e);
	if (!kdf && version == 1)
		err_hint(e, "LUKS1 has pbkdf2 only; see option version=2.");
	if (kdf && !strcmp(kdf, "argon2id"))
		p->kdf = KDF_ARGON2ID;
	return kdf ? 0 : -1;
}

int luks_params_read(struct options *o, const char *prefix, bool with_version,
    struct luks_params *p, struct err *e)
{
	const char *id = options_get(o, "key-secret");

	*p = (struct luks_params){
	    .version = 1, .kdf = KDF_PBKDF2, .iter_ms = 2000};
	if (!id)
		return err_usage(e,
		    "Parameter '%skey-secret' is required for cipher", prefix);
	p->secret = object_secret(id, e);
	if (!p->secret || options_u64(o, "iter-time", &p->iter_ms, e) < 0)
		return -1;
	if (p->iter_ms > LUKS_ITER_MS_MAX)
		return err_usage(e,
		    "Parameter 'iter-time' must be at most %u milliseconds",
		    LUKS_ITER_MS_MAX);
	if (with_version && read_version(o, p, e))
		return -1;
	return read_algs(o, p, e);
}
