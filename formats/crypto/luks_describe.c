/* SPDX-License-Identifier: BSD-3-Clause */
/* What `info` shows of a LUKS header. */
#include "../core/units.h"
#include "luks.h"

static void add_text(json_t *o, const char *key, const char *text)
{
	json_object_set_new(o, key, json_string(text));
}

static void add_int(json_t *o, const char *key, uint64_t value)
{
	json_object_set_new(o, key, json_integer((json_int_t)value));
}

static json_t *slots(const struct luks *l)
{
	json_t *list = json_array();

	for (unsigned i = 0; i < l->slot_n; i++) {
		const struct luks_slot *s = &l->slot[i];
		json_t *o = json_object();

		json_object_set_new(o, "active", json_boolean(s->active));
		if (s->active)
			add_int(o, "iters", s->kdf.iterations);
		add_int(o, "key-offset", s->at);
		if (s->active)
			add_int(o, "stripes", s->stripes);
		json_array_append_new(list, o);
	}
	return list;
}

static json_t *luks2_slot(const struct luks_slot *s, unsigned ix)
{
	json_t *o = json_object();

	add_int(o, "keyslot", ix);
	add_text(o, "kdf", kdf_name(s->kdf.kind));
	add_int(o, "iters", s->kdf.iterations);
	if (s->kdf.kind != KDF_PBKDF2) {
		add_int(o, "memory", (uint64_t)s->kdf.memory_kib * 1024);
		add_int(o, "threads", s->kdf.lanes);
	}
	add_int(o, "key-offset", s->at);
	add_int(o, "stripes", s->stripes);
	return o;
}

static json_t *luks2_describe(
    const struct luks *l, bool detached, const char *format)
{
	json_t *o = json_object(), *list = json_array();

	add_int(o, "version", 2);
	add_text(o, "cipher", l->cipher);
	add_text(o, "cipher-mode", l->mode);
	add_text(o, "uuid", l->uuid);
	if (l->key_len)
		add_int(o, "key-bits", l->key_len * 8);
	add_int(o, "sector-size", l->sector_len);
	if (format)
		add_text(o, "format", format);
	for (unsigned i = 0; i < l->slot_n; i++)
		if (l->slot[i].active)
			json_array_append_new(list, luks2_slot(&l->slot[i], i));
	json_object_set_new(o, "slots", list);
	add_int(o, "payload-offset", l->payload);
	json_object_set_new(o, "detached-header", json_boolean(detached));
	return o;
}

json_t *luks_describe(const struct luks *l, bool detached, const char *format)
{
	char alg[2 * LUKS_TEXT_MAX];
	struct luks_mode m;
	json_t *o;

	if (l->version == 2)
		return luks2_describe(l, detached, format);
	o = json_object();
	luks_mode_split(l->mode, &m);
	luks_cipher_alg(l, alg, sizeof alg);
	add_text(o, "ivgen-alg", m.iv);
	add_text(o, "hash-alg", l->hash);
	add_text(o, "cipher-alg", alg);
	add_text(o, "uuid", l->uuid);
	if (*m.iv_hash)
		add_text(o, "ivgen-hash-alg", m.iv_hash);
	if (format)
		add_text(o, "format", format);
	add_text(o, "cipher-mode", m.mode);
	json_object_set_new(o, "slots", slots(l));
	add_int(o, "payload-offset", l->payload);
	json_object_set_new(o, "detached-header", json_boolean(detached));
	add_int(o, "master-key-iters", l->digest.kdf.iterations);
	return o;
}
