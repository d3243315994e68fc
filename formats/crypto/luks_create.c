/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Making a LUKS1 header: eight key slots, the first of which is active, in
 * pieces of 4096 bytes behind the first one, as the reference tools lay it out.
 */
#include <stdio.h>
#include <string.h>

#include "../core/units.h"
#include "keymem.h"
#include "luks.h"

#define PIECE	  4096u
#define SALT_LEN  32u
#define DIGEST_MS 125u /* of the time that testing a volume key may take */

static uint64_t slot_space(size_t key_len)
{
	return round_up((uint64_t)key_len * LUKS_STRIPES, PIECE);
}

uint64_t luks_header_len(const struct luks_params *p)
{
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
			.salt_len = SALT_LEN},
		    .af_hash = hash,
		    .stripes = LUKS_STRIPES,
		    .key_len = l->key_len,
		    .at = PIECE + i * slot_space(l->key_len),
		    .len = round_up(
			(uint64_t)l->key_len * LUKS_STRIPES, SECTOR_LEN),
		};
}

static int make_digest(struct luks *l, uint64_t iter_ms, struct err *e)
{
	struct luks_digest *d = &l->digest;

	*d = (struct luks_digest){
	    .kdf = {.kind = KDF_PBKDF2,
		.hash = hash_find(l->hash),
		.salt_len = SALT_LEN},
	    .len = 20,
	};
	if (random_bytes(d->kdf.salt, SALT_LEN, e) ||
	    kdf_iterations(d->kdf.hash, d->len, min_u64(iter_ms / 8, DIGEST_MS),
		&d->kdf.iterations, e))
		return -1;
	return kdf_derive(
	    &d->kdf, (const char *)l->key, l->key_len, d->value, d->len, e);
}

/* The header goes last: until it is there this is no image. */
static int make(struct luks *l, const struct luks_params *p, struct err *e)
{
	struct kdf *kdf = &l->slot[0].kdf;

	lay_out_slots(l);
	l->key = keymem_new(CIPHER_KEY_MAX, e);
	if (!l->key || random_bytes(l->key, l->key_len, e) ||
	    make_uuid(l->uuid, e) || make_digest(l, p->iter_ms, e) ||
	    kdf_iterations(
		kdf->hash, l->key_len, p->iter_ms, &kdf->iterations, e) ||
	    luks_slot_fill(l, 0, p->secret, e))
		return -1;
	l->slot[0].active = true;
	return luks1_write(l, e);
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
	l->version = 1;
	l->key_len = p->key_len;
	l->payload = payload;
	snprintf(l->cipher, sizeof l->cipher, "%s", p->cipher);
	snprintf(l->mode, sizeof l->mode, "%s", p->mode);
	snprintf(l->hash, sizeof l->hash, "%s", p->hash);
	rc = make(l, p, e);
	luks_free(l);
	return rc;
}
