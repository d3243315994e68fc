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

/* Where it lies; area_len stays 0 where that cannot be. */
static void get_place(
    const struct luks *l, const json_t *area, struct luks_slot *s)
{
	uint64_t at, len;

	if (strcmp(text_of(area, "type"), "raw") ||
	    !u64_of(area, "offset", &at) || !u64_of(area, "size", &len) ||
	    at < 2 * l->v2->len || !range_ok(at, len, l->v2->slots_end) ||
	    !range_ok(at, len, l->room))
		return;
	s->at = at;
	s->area_len = len;
}

static const char *get_area(
    const struct luks *l, const json_t *o, struct luks_slot *s)
{
	char cipher[LUKS_TEXT_MAX], mode[LUKS_TEXT_MAX];
	struct err ignored = ERR_INIT;
	uint32_t key_len;

	s->len = round_up((uint64_t)s->key_len * s->stripes, SECTOR_LEN);
	if (strcmp(text_of(o, "type"), "raw"))
		return "is stored in a way that is not supported";
	if (!s->area_len || !range_ok(s->at, s->len, l->room))
		return "lies outside of the file";
	if (s->len > s->area_len)
		return "is longer than the area for it";
	if (!u32_of(o, "key_size", &key_len) || !key_len ||
	    !split_encryption(text_of(o, "encryption"), cipher, mode) ||
	    cipher_spec_parse(&s->area, cipher, mode, key_len, &ignored))
		return "is encrypted in a way that is not supported";
	return NULL;
}

/* NULL, or why it cannot be used. */
static const char *get_slot(
    const struct luks *l, const json_t *o, struct luks_slot *s)
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
	return get_area(l, json_object_get(o, "area"), s);
}

/* The number of a slot, as its name says; LUKS_SLOTS_MAX: it is none. */
static unsigned slot_number(const char *name)
{
	char text[12];

	for (unsigned i = 0; i < LUKS_SLOTS_MAX; i++) {
		snprintf(text, sizeof text, "%u", i);
		if (!strcmp(text, name))
			return i;
	}
	return LUKS_SLOTS_MAX;
}

/* A slot that is written must harm no other one. */
static int check_overlaps(const struct luks *l, struct err *e)
{
	for (unsigned i = 0; i < l->slot_n; i++)
		for (unsigned j = 0; j < i; j++) {
			const struct luks_slot *a = &l->slot[i];
			const struct luks_slot *b = &l->slot[j];

			if (a->at < b->at + b->area_len &&
			    b->at < a->at + a->area_len)
				return err_damaged(e,
				    "%s: LUKS2 metadata: the areas of key "
				    "slots %u and %u overlap",
				    l->name, j, i);
		}
	return 0;
}

/* Which slots hold the key of the data, and which another one.  The first that
 * says how long the key is, is believed. */
static int get_slots(struct luks *l, struct err *e)
{
	json_t *all = json_object_get(l->v2->root, "keyslots");
	const json_t *wanted = json_object_get(l->v2->digest, "keyslots");
	const char *name;
	json_t *o;

	if (!json_is_object(all))
		return bad(l, "there are no key slots", e);
	l->slot_n = LUKS_SLOTS_MAX;
	json_object_foreach(all, name, o)
	{
		unsigned ix = slot_number(name);
		struct luks_slot *s = &l->slot[ix % LUKS_SLOTS_MAX];
		uint32_t key_len;

		if (ix == LUKS_SLOTS_MAX)
			return bad(l, "a key slot's name is not 0 to 31", e);
		s->active = lists(wanted, name);
		s->taken = !s->active;
		get_place(l, json_object_get(o, "area"), s);
		if (!l->key_len && s->active &&
		    u32_of(o, "key_size", &key_len) &&
		    key_len <= CIPHER_KEY_MAX)
			l->key_len = key_len;
	}
	json_object_foreach(all, name, o)
	{
		struct luks_slot *s = &l->slot[slot_number(name)];

		if (s->active)
			s->problem = get_slot(l, o, s);
	}
	return check_overlaps(l, e);
}

/* Where the area of all slots ends: before the data, also where the data is in
 * another file, which then begins with as much. */
static int get_config(struct luks *l, struct err *e)
{
	const json_t *config = json_object_get(l->v2->root, "config");
	uint64_t len;

	if (!u64_of(config, "keyslots_size", &len) || len > LUKS2_SLOTS_MAX)
		return bad(l,
		    "the size of the area for key slots is missing or "
		    "impossible",
		    e);
	l->v2->slots_end = 2 * l->v2->len + len;
	if (l->payload)
		l->v2->slots_end = min_u64(l->v2->slots_end, l->payload);
	return 0;
}

static int get_digest(struct luks *l, const char *segment, struct err *e)
{
	json_t *all = json_object_get(l->v2->root, "digests"), *found = NULL;
	struct luks_digest *d = &l->digest;
	const char *problem, *name;
	json_t *o;

	json_object_foreach(all, name, o)
	{
		if (!found && lists(json_object_get(o, "segments"), segment))
			found = o;
	}
	if (!found)
		return bad(l, "no digest of the volume key", e);
	l->v2->digest = found;
	problem = get_kdf(found, &d->kdf);
	if (problem || d->kdf.kind != KDF_PBKDF2)
		return err_unsupported(e, "%s: LUKS2 metadata: the digest %s",
		    l->name, problem ? problem : "is not supported");
	if (bytes_of(found, "digest", d->value, sizeof d->value, &d->len) &&
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

int luks2_metadata(struct luks *l, struct err *e)
{
	const json_t *root = l->v2->root, *segment = NULL;
	const char *name;

	if (check_requirements(l, root, e))
		return -1;
	name = only_segment(root, &segment);
	if (!name)
		return err_unsupported(e,
		    "%s: LUKS2 metadata: %zu segments of data: must be one",
		    l->name,
		    json_object_size(json_object_get(root, "segments")));
	return get_segment(l, segment, e) || get_config(l, e) ||
		       get_digest(l, name, e) || get_slots(l, e)
		   ? -1
		   : 0;
}
