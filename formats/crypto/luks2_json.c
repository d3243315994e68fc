/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The JSON metadata of LUKS2: see luks2.h.
 *
 * It comes from outside: every member may be missing or of another type, and
 * every number may be anything.  What makes a key slot unusable is noted, and
 * is no error unless no other slot can be used.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../core/base64.h"
#include "../core/units.h"
#include "luks2.h"

static int bad(const struct luks *l, const char *what, struct err *e)
{
	return err_damaged(e, "%s: LUKS2 metadata: %s", l->name, what);
}

/* ---- members ----------------------------------------------------------- */

/* "" where there is none. */
static const char *text_of(const json_t *o, const char *key)
{
	const char *s = json_string_value(json_object_get(o, key));

	return s ? s : "";
}

/* Of 64 bits: decimal digits in a string.  False: it is not there, or not so.
 */
static bool u64_of(const json_t *o, const char *key, uint64_t *out)
{
	const char *s = text_of(o, key);
	char *end;

	errno = 0;
	*out = strtoull(s, &end, 10);
	return *s >= '0' && *s <= '9' && !*end && !errno;
}

static bool u32_of(const json_t *o, const char *key, uint32_t *out)
{
	const json_t *v = json_object_get(o, key);
	json_int_t n = json_integer_value(v);

	*out = (uint32_t)n;
	return json_is_integer(v) && n >= 0 && n <= UINT32_MAX;
}

/* Bytes in base64, at most `max`. */
static bool bytes_of(
    const json_t *o, const char *key, uint8_t *out, size_t max, size_t *len)
{
	const char *s = text_of(o, key);
	struct err ignored = ERR_INIT;
	uint8_t buf[256];

	*len = strlen(s);
	if (!*len || *len > sizeof buf)
		return false;
	memcpy(buf, s, *len);
	if (base64_decode(buf, len, &ignored) || *len > max)
		return false;
	memcpy(out, buf, *len);
	return true;
}

/* Is the text in the array? */
static bool lists(const json_t *array, const char *text)
{
	const json_t *v;
	size_t i;

	json_array_foreach(
	    array, i, v) if (json_is_string(v) &&
			     !strcmp(json_string_value(v), text)) return true;
	return false;
}

/* ---- key derivation ---------------------------------------------------- */

/* NULL, or what cannot be done. */
static const char *get_kdf(const json_t *o, struct kdf *k)
{
	const char *type = text_of(o, "type");

	if (!bytes_of(o, "salt", k->salt, sizeof k->salt, &k->salt_len))
		return "has no salt that can be used";
	if (!strcmp(type, "pbkdf2")) {
		k->kind = KDF_PBKDF2;
		k->hash = hash_find(text_of(o, "hash"));
		if (!k->hash)
			return "needs a hash that is not supported";
		return u32_of(o, "iterations", &k->iterations)
			   ? NULL
			   : "has no number of iterations";
	}
	if (!strcmp(type, "argon2id"))
		k->kind = KDF_ARGON2ID;
	else if (!strcmp(type, "argon2i"))
		k->kind = KDF_ARGON2I;
	else
		return "needs a key derivation that is not supported";
	return u32_of(o, "time", &k->iterations) &&
		       u32_of(o, "memory", &k->memory_kib) &&
		       u32_of(o, "cpus", &k->lanes)
		   ? NULL
		   : "does not say how much Argon2 has to do";
}

/* "aes-xts-plain64": the first word, and the rest. */
static bool split_encryption(
    const char *text, char cipher[LUKS_TEXT_MAX], char mode[LUKS_TEXT_MAX])
{
	size_t n = strcspn(text, "-");

	if (!n || n >= LUKS_TEXT_MAX || !text[n] ||
	    strlen(text + n + 1) >= LUKS_TEXT_MAX)
		return false;
	memcpy(cipher, text, n);
	cipher[n] = 0;
	strcpy(mode, text + n + 1);
	return true;
}

/* ---- key slots --------------------------------------------------------- */

static const char *get_area(
    const struct luks *l, const json_t *o, uint64_t first, struct luks_slot *s)
{
	char cipher[LUKS_TEXT_MAX], mode[LUKS_TEXT_MAX];
	struct err ignored = ERR_INIT;
	uint32_t key_len;
	uint64_t len;

	s->len = round_up((uint64_t)s->key_len * s->stripes, SECTOR_LEN);
	if (strcmp(text_of(o, "type"), "raw"))
		return "is stored in a way that is not supported";
	if (!u64_of(o, "offset", &s->at) || !u64_of(o, "size", &len) ||
	    s->at < first || s->len > len || !range_ok(s->at, len, l->room))
		return "lies outside of the file";
	if (!u32_of(o, "key_size", &key_len) || !key_len ||
	    !split_encryption(text_of(o, "encryption"), cipher, mode) ||
	    cipher_spec_parse(&s->area, cipher, mode, key_len, &ignored))
		return "is encrypted in a way that is not supported";
	return NULL;
}

static const char *get_slot(
    const struct luks *l, const json_t *o, uint64_t first, struct luks_slot *s)
{
	const json_t *af = json_object_get(o, "af");
	const char *problem = get_kdf(json_object_get(o, "kdf"), &s->kdf);
	uint32_t key_len;

	if (problem)
		return problem;
	if (strcmp(text_of(o, "type"), "luks2") ||
	    strcmp(text_of(af, "type"), "luks1"))
		return "is of a kind that is not supported";
	s->af_hash = hash_find(text_of(af, "hash"));
	if (!s->af_hash)
		return "needs a hash that is not supported";
	if (!u32_of(af, "stripes", &s->stripes) || !s->stripes ||
	    s->stripes > LUKS_STRIPES_MAX)
		return "has an impossible number of stripes";
	if (!u32_of(o, "key_size", &key_len) || key_len != l->key_len)
		return "holds a key of another length";
	s->key_len = key_len;
	return get_area(l, json_object_get(o, "area"), first, s);
}

/* The slots that hold the key of the digest. */
static int get_slots(struct luks *l, const json_t *root, const json_t *digest,
    uint64_t first, struct err *e)
{
	const json_t *all = json_object_get(root, "keyslots");
	const json_t *wanted = json_object_get(digest, "keyslots");
	char key[12];

	l->slot_n = LUKS_SLOTS_MAX;
	for (unsigned i = 0; i < l->slot_n; i++) {
		const json_t *o;
		uint32_t key_len;

		snprintf(key, sizeof key, "%u", i);
		o = json_object_get(all, key);
		if (!o || !lists(wanted, key))
			continue;
		if (!l->key_len && u32_of(o, "key_size", &key_len) &&
		    key_len <= CIPHER_KEY_MAX)
			l->key_len = key_len;
		l->slot[i].active = true;
		l->slot[i].problem = get_slot(l, o, first, &l->slot[i]);
	}
	return l->key_len ? 0 : bad(l, "no key slot for the data", e);
}

static int get_digest(struct luks *l, const json_t *root, const char *segment,
    const json_t **out, struct err *e)
{
	const json_t *all = json_object_get(root, "digests");
	struct luks_digest *d = &l->digest;
	const char *problem;
	void *i;

	*out = NULL;
	for (i = json_object_iter((json_t *)all); i && !*out;
	     i = json_object_iter_next((json_t *)all, i)) {
		const json_t *o = json_object_iter_value(i);

		if (lists(json_object_get(o, "segments"), segment))
			*out = o;
	}
	if (!*out)
		return bad(l, "no digest of the volume key", e);
	problem = get_kdf(*out, &d->kdf);
	if (problem || d->kdf.kind != KDF_PBKDF2)
		return err_unsupported(e, "%s: LUKS2 metadata: the digest %s",
		    l->name, problem ? problem : "is not supported");
	if (bytes_of(*out, "digest", d->value, sizeof d->value, &d->len) &&
	    d->len >= 16)
		return 0;
	return bad(l, "no value of the digest that can be used", e);
}

/* ---- the data ---------------------------------------------------------- */

/* Name of the only segment, or NULL. */
static const char *only_segment(const json_t *root, const json_t **out)
{
	json_t *all = json_object_get(root, "segments");
	void *i = json_object_iter(all);

	if (json_object_size(all) != 1)
		return NULL;
	*out = json_object_iter_value(i);
	return json_object_iter_key(i);
}

static bool sector_len_ok(uint32_t len)
{
	return is_pow2(len) && len >= SECTOR_LEN && len <= 4096;
}

static int get_segment(struct luks *l, const json_t *o, struct err *e)
{
	bool whole = !strcmp(text_of(o, "size"), "dynamic");

	if (strcmp(text_of(o, "type"), "crypt") ||
	    json_object_get(o, "integrity"))
		return err_unsupported(e,
		    "%s: LUKS2 metadata: data of type '%s'%s is not supported",
		    l->name, text_of(o, "type"),
		    json_object_get(o, "integrity") ? " with integrity" : "");
	if (!split_encryption(text_of(o, "encryption"), l->cipher, l->mode))
		return bad(l, "the data's encryption is no cipher and mode", e);
	if (!u64_of(o, "offset", &l->payload) ||
	    (!whole &&
		(!u64_of(o, "size", &l->payload_len) || !l->payload_len)) ||
	    !u64_of(o, "iv_tweak", &l->first_sector) ||
	    !u32_of(o, "sector_size", &l->sector_len))
		return bad(l, "the data's place or sectors are missing", e);
	if (!sector_len_ok(l->sector_len) ||
	    !is_aligned(l->payload | l->payload_len, SECTOR_LEN))
		return bad(l, "the data's place or sectors are impossible", e);
	return 0;
}

/* What must be understood, and is not. */
static int check_requirements(
    const struct luks *l, const json_t *root, struct err *e)
{
	const json_t *config = json_object_get(root, "config");
	const json_t *list = json_object_get(
	    json_object_get(config, "requirements"), "mandatory");
	const json_t *v = json_array_get(list, 0);

	if (!json_array_size(list))
		return 0;
	return err_unsupported(e, "%s: LUKS2 feature '%s' is not supported",
	    l->name, json_is_string(v) ? json_string_value(v) : "?");
}

int luks2_metadata(
    struct luks *l, const json_t *root, uint64_t header_len, struct err *e)
{
	const json_t *segment = NULL, *digest;
	const char *name;

	if (check_requirements(l, root, e))
		return -1;
	name = only_segment(root, &segment);
	if (!name)
		return err_unsupported(e,
		    "%s: LUKS2 metadata: %zu segments of data: must be one",
		    l->name,
		    json_object_size(json_object_get(root, "segments")));
	return get_segment(l, segment, e) ||
		       get_digest(l, root, name, &digest, e) ||
		       get_slots(l, root, digest, header_len, e)
		   ? -1
		   : 0;
}
