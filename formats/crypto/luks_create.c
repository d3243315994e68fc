/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Making headers.  LUKS1: eight key slots, the first of which is active, in
 * pieces of 4096 bytes behind the first one, as the reference tools lay it out.
 * LUKS2: see luks2_create.c.
 */
#include <stdio.h>
#include <string.h>

#include "../core/units.h"
#include "keymem.h"
#include "luks2.h"

#define PIECE	   4096u
#define DIGEST_LEN 20u

static uint64_t slot_space(size_t key_len)
{
	return round_up((uint64_t)key_len * LUKS_STRIPES, PIECE);
}

uint64_t luks_header_len(const struct luks_params *p)
{
	if (p->version == 2)
		return LUKS2_NEW_PAYLOAD;
	return PIECE + LUKS1_SLOTS * slot_space(p->key_len);
}

/* A random one: version 4. */
static int make_uuid(char out[41], struct err *e)
{
	uint8_t b[16];

	if (random_bytes(b, sizeof b, e))
		return -1;
	b[6] = (b[6] & 0x0f) | 0x40;
	b[8] = (b[8] & 0x3f) | 0x80;
	snprintf(out, 41,
	    "%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-"
	    "%02x%02x%02x%02x%02x%02x",
	    b[0], b[1], b[2], b[3], b[4], b[5], b[6], b[7], b[8], b[9], b[10],
	    b[11], b[12], b[13], b[14], b[15]);
	return 0;
}

static void lay_out_slots(struct luks *l)
{
	int hash = hash_find(l->hash);

	l->slot_n = LUKS1_SLOTS;
	for (unsigned i = 0; i < l->slot_n; i++)
		l->slot[i] = (struct luks_slot){
		    .kdf = {.kind = KDF_PBKDF2,
			.hash = hash,
			.salt_len = LUKS_SALT_LEN},
		    .af_hash = hash,
		    .stripes = LUKS_STRIPES,
		    .key_len = l->key_len,
		    .at = PIECE + i * slot_space(l->key_len),
		    .len = round_up(
			(uint64_t)l->key_len * LUKS_STRIPES, SECTOR_LEN),
		};
}

int luks_make_digest(
    struct luks *l, size_t len, uint64_t iter_ms, struct err *e)
{
	struct luks_digest *d = &l->digest;

	*d = (struct luks_digest){
	    .kdf = {.kind = KDF_PBKDF2,
		.hash = hash_find(l->hash),
		.salt_len = LUKS_SALT_LEN},
	    .len = len,
	};
	if (random_bytes(d->kdf.salt, LUKS_SALT_LEN, e) ||
	    kdf_tune(&d->kdf, len, min_u64(iter_ms / 8, LUKS_DIGEST_MS), e))
		return -1;
	return kdf_derive(
	    &d->kdf, (const char *)l->key, l->key_len, d->value, d->len, e);
}

/* The header goes last: until it is there this is no image. */
static int make_luks1(
    struct luks *l, const struct luks_params *p, struct err *e)
{
	struct kdf *kdf = &l->slot[0].kdf;

	lay_out_slots(l);
	if (luks_make_digest(l, DIGEST_LEN, p->iter_ms, e) ||
	    kdf_tune(kdf, l->key_len, p->iter_ms, e) ||
	    luks_slot_fill(l, 0, p->secret, e))
		return -1;
	l->slot[0].active = true;
	return luks1_write(l, e);
}

static int make(struct luks *l, const struct luks_params *p, struct err *e)
{
	l->key = keymem_new(CIPHER_KEY_MAX, e);
	if (!l->key || random_bytes(l->key, l->key_len, e) ||
	    make_uuid(l->uuid, e))
		return -1;
	return (l->version == 2 ? luks2_create : make_luks1)(l, p, e);
}

int luks_create(struct hostfile *f, uint64_t host, const char *name,
    const struct luks_params *p, uint64_t payload, struct err *e)
{
	struct luks *l = calloc(1, sizeof *l);
	int rc;

	if (!l)
		return err_nomem(e);
	l->file = f;
	l->host = host;
	l->room = luks_header_len(p);
	l->name = name;
	l->version = p->version;
	l->sector_len = SECTOR_LEN;
	l->key_len = p->key_len;
	l->payload = payload;
	snprintf(l->cipher, sizeof l->cipher, "%s", p->cipher);
	snprintf(l->mode, sizeof l->mode, "%s", p->mode);
	snprintf(l->hash, sizeof l->hash, "%s", p->hash);
	rc = make(l, p, e);
	luks_free(l);
	return rc;
}
