/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Making a LUKS2 header as cryptsetup lays it out: copies of 16 KiB, an area
 * for key slots up to 16 MiB, which is where the data begins.
 */
#include <stdio.h>
#include <string.h>

#include "../core/base64.h"
#include "../core/units.h"
#include "luks2.h"

#define SUM_NAME "sha256"

static int make_slot(struct luks *l, const struct luks_params *p, struct err *e)
{
	struct luks_slot *s = &l->slot[0];
	uint64_t len = (uint64_t)l->key_len * LUKS_STRIPES;
	int hash = hash_find(l->hash);

	l->slot_n = LUKS_SLOTS_MAX;
	*s = (struct luks_slot){
	    .kdf = {.kind = p->kdf, .hash = hash, .salt_len = LUKS_SALT_LEN},
	    .stripes = LUKS_STRIPES,
	    .af_hash = hash,
	    .at = 2 * l->v2->len,
	    .len = round_up(len, SECTOR_LEN),
	    .area_len = round_up(len, LUKS2_SLOT_ALIGN),
	    .key_len = l->key_len,
	};
	if (cipher_spec_parse(&s->area, l->cipher, l->mode, l->key_len, e) ||
	    kdf_tune(&s->kdf, l->key_len, p->iter_ms, e) ||
	    luks_slot_fill(l, 0, p->secret, e))
		return -1;
	s->active = true;
	return 0;
}

static json_t *segment(const struct luks *l, const char *encryption)
{
	char offset[24];

	snprintf(offset, sizeof offset, "%llu", (unsigned long long)l->payload);
	return json_pack("{s:s,s:s,s:s,s:s,s:s,s:i}", "type", "crypt", "offset",
	    offset, "size", "dynamic", "iv_tweak", "0", "encryption",
	    encryption, "sector_size", (int)l->sector_len);
}

static json_t *digest(const struct luks *l)
{
	const struct luks_digest *d = &l->digest;
	char salt[BASE64_SIZE(KDF_SALT_MAX)];
	char value[BASE64_SIZE(LUKS_DIGEST_MAX)];

	base64_encode(d->kdf.salt, d->kdf.salt_len, salt);
	base64_encode(d->value, d->len, value);
	return json_pack("{s:s,s:[s],s:[s],s:s,s:I,s:s,s:s}", "type", "pbkdf2",
	    "keyslots", "0", "segments", "0", "hash", l->hash, "iterations",
	    (json_int_t)d->kdf.iterations, "salt", salt, "digest", value);
}

static json_t *config(const struct luks2 *v)
{
	char json_len[24], slots_len[24];

	snprintf(json_len, sizeof json_len, "%llu",
	    (unsigned long long)(v->len - LUKS2_BIN_LEN));
	snprintf(slots_len, sizeof slots_len, "%llu",
	    (unsigned long long)(v->slots_end - 2 * v->len));
	return json_pack(
	    "{s:s,s:s}", "json_size", json_len, "keyslots_size", slots_len);
}

static json_t *metadata(const struct luks *l)
{
	char encryption[2 * LUKS_TEXT_MAX];

	snprintf(encryption, sizeof encryption, "%s-%s", l->cipher, l->mode);
	return json_pack("{s:{s:o},s:{},s:{s:o},s:{s:o},s:o}", "keyslots", "0",
	    luks2_slot_json(&l->slot[0], encryption, l->hash, l->hash),
	    "tokens", "segments", "0", segment(l, encryption), "digests", "0",
	    digest(l), "config", config(l->v2));
}

/* The second copy goes first: until the first one is there, a program that
 * looks for LUKS finds none. */
int luks2_create(struct luks *l, const struct luks_params *p, struct err *e)
{
	struct luks2 *v = l->v2 = luks2_new(e);
	size_t hash_n = hash_len(hash_find(l->hash));

	if (!v)
		return -1;
	v->len = LUKS2_HEADER_MIN;
	v->slots_end = LUKS2_NEW_PAYLOAD;
	strcpy((char *)v->bin + LUKS2_SUM_NAME_AT, SUM_NAME);
	memcpy(v->bin + LUKS2_UUID_AT, l->uuid, strlen(l->uuid));
	if (luks_make_digest(l, hash_n, p->iter_ms, e) || make_slot(l, p, e))
		return -1;
	v->root = metadata(l);
	return v->root ? luks2_write(l, e) : err_nomem(e);
}
