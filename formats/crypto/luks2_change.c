/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Filling and erasing key slots of LUKS2: see luks2.h.
 *
 * A passphrase goes to an area that no slot has: first the split key, then the
 * header that says so, then, if the slot was in use, its old area is
 * overwritten.  A slot is erased the other way round: the split key first, so
 * that a crash leaves no slot that is said to be free and still opens.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "../core/base64.h"
#include "../core/units.h"
#include "luks2.h"

/* ---- metadata ----------------------------------------------------------- */

static json_t *decimal(uint64_t n)
{
	char text[24];

	snprintf(text, sizeof text, "%llu", (unsigned long long)n);
	return json_string(text);
}

static json_t *kdf_json(const struct kdf *k, const char *hash)
{
	char salt[BASE64_SIZE(KDF_SALT_MAX)];

	base64_encode(k->salt, k->salt_len, salt);
	if (k->kind == KDF_PBKDF2)
		return json_pack("{s:s,s:s,s:I,s:s}", "type", "pbkdf2", "hash",
		    hash, "iterations", (json_int_t)k->iterations, "salt",
		    salt);
	return json_pack("{s:s,s:I,s:I,s:I,s:s}", "type", kdf_name(k->kind),
	    "time", (json_int_t)k->iterations, "memory",
	    (json_int_t)k->memory_kib, "cpus", (json_int_t)k->lanes, "salt",
	    salt);
}

json_t *luks2_slot_json(const struct luks_slot *s, const char *encryption,
    const char *af_hash, const char *kdf_hash)
{
	return json_pack("{s:s,s:I,s:{s:s,s:I,s:s},"
			 "s:{s:s,s:o,s:o,s:s,s:I},s:o}",
	    "type", "luks2", "key_size", (json_int_t)s->key_len, "af", "type",
	    "luks1", "stripes", (json_int_t)s->stripes, "hash", af_hash, "area",
	    "type", "raw", "offset", decimal(s->at), "size",
	    decimal(s->area_len), "encryption", encryption, "key_size",
	    (json_int_t)s->area.key_len, "kdf", kdf_json(&s->kdf, kdf_hash));
}

static void remove_from(json_t *list, const char *text)
{
	for (size_t i = json_array_size(list); i--;) {
		const char *s = json_string_value(json_array_get(list, i));

		if (s && !strcmp(s, text))
			json_array_remove(list, i);
	}
}

/* Nothing refers to the slot any more. */
static void unlist(struct luks *l, const char *name)
{
	static const char *const users[] = {"digests", "tokens"};
	const char *key;
	json_t *o;

	for (size_t i = 0; i < ARRAY_N(users); i++)
		json_object_foreach(
		    json_object_get(l->v2->root, users[i]), key, o)
		{
			remove_from(json_object_get(o, "keyslots"), name);
		}
}

/* The slot as it is now; `like`: the one whose algorithms it has. */
static int put_slot(
    struct luks *l, unsigned ix, const char *name, unsigned like, struct err *e)
{
	json_t *all = json_object_get(l->v2->root, "keyslots"), *model, *o;
	char model_name[12];

	snprintf(model_name, sizeof model_name, "%u", like);
	model = json_object_get(all, model_name);
	o = luks2_slot_json(&l->slot[ix],
	    json_string_value(
		json_object_get(json_object_get(model, "area"), "encryption")),
	    json_string_value(
		json_object_get(json_object_get(model, "af"), "hash")),
	    json_string_value(
		json_object_get(json_object_get(model, "kdf"), "hash")));
	unlist(l, name);
	if (!o || json_object_set_new(all, name, o) ||
	    json_array_append_new(
		json_object_get(l->v2->digest, "keyslots"), json_string(name)))
		return err_nomem(e);
	return 0;
}

/* ---- adding ------------------------------------------------------------- */

static const struct luks_slot *slot_in(
    const struct luks *l, uint64_t at, uint64_t len)
{
	for (unsigned i = 0; i < l->slot_n; i++) {
		const struct luks_slot *s = &l->slot[i];

		if (s->at < at + len && at < s->at + s->area_len)
			return s;
	}
	return NULL;
}

/* Space for a slot that is no slot's yet. */
static int place(struct luks *l, struct luks_slot *s, struct err *e)
{
	uint64_t at = 2 * l->v2->len;
	uint64_t len = round_up(s->len, LUKS2_SLOT_ALIGN);
	uint64_t end = min_u64(l->v2->slots_end, l->room);
	const struct luks_slot *other;

	for (unsigned i = 0; i < l->slot_n; i++) {
		other = &l->slot[i];
		if ((other->active || other->taken) && !other->area_len)
			return err_damaged(e,
			    "%s: LUKS2 metadata: the area of key slot %u is "
			    "not in the area for key slots",
			    l->name, i);
	}
	while ((other = slot_in(l, at, len)))
		at = round_up(other->at + other->area_len, LUKS2_SLOT_ALIGN);
	if (!range_ok(at, len, end))
		return err_set(e, ERR_USAGE, ENOSPC,
		    "%s: the area for key slots has no %llu bytes that are "
		    "free",
		    l->name, (unsigned long long)len);
	s->at = at;
	s->area_len = len;
	return 0;
}

/* All but the salt; as the slot is that was opened. */
static int plan(
    struct luks *l, struct luks_slot *s, uint64_t iter_ms, struct err *e)
{
	const struct luks_slot *like = &l->slot[l->opened];

	*s = (struct luks_slot){
	    .active = true,
	    .kdf = {.kind = like->kdf.kind,
		.hash = like->kdf.hash,
		.salt_len = LUKS_SALT_LEN},
	    .stripes = like->stripes,
	    .af_hash = like->af_hash,
	    .len = like->len,
	    .area = like->area,
	    .key_len = like->key_len,
	};
	return place(l, s, e) || kdf_tune(&s->kdf, s->area.key_len, iter_ms, e)
		   ? -1
		   : 0;
}

int luks2_add(struct luks *l, unsigned ix, const char *pass, uint64_t iter_ms,
    struct err *e)
{
	const struct luks_slot old = l->slot[ix];
	struct luks_slot new;
	char name[12];

	snprintf(name, sizeof name, "%u", ix);
	if (plan(l, &new, iter_ms, e))
		return -1;
	l->slot[ix] = new;
	if (luks_slot_fill(l, ix, pass, e)) {
		l->slot[ix] = old;
		return -1;
	}
	/* Its model may be the slot that it replaces: that is in the metadata
	 * up to here. */
	if (put_slot(l, ix, name, l->opened, e) || luks2_write(l, e))
		return -1;
	return old.active ? luks_slot_wipe(l, &old, e) : 0;
}

/* ---- erasing ------------------------------------------------------------ */

int luks2_erase(struct luks *l, unsigned ix, struct err *e)
{
	struct luks_slot *s = &l->slot[ix];
	char name[12];

	if (!s->active)
		return 0;
	snprintf(name, sizeof name, "%u", ix);
	if (!s->area_len)
		return err_damaged(e,
		    "%s: LUKS2 metadata: the area of key slot %u is not in the "
		    "area for key slots",
		    l->name, ix);
	if (luks_slot_wipe(l, s, e))
		return -1;
	*s = (struct luks_slot){0};
	unlist(l, name);
	json_object_del(json_object_get(l->v2->root, "keyslots"), name);
	return luks2_write(l, e);
}
