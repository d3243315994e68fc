/* SPDX-License-Identifier: BSD-3-Clause */
/* Key slots of LUKS: finding the volume key with one, filling and wiping it. */
#include <stdlib.h>
#include <string.h>

#include "../core/units.h"
#include "afsplit.h"
#include "keymem.h"
#include "luks.h"

#define WIPE_LEN 0x100000u /* written at once */

/* The split key; wiped when it is freed. */
struct material {
	uint8_t *p;
	size_t len;
};

static int material_new(struct material *m, uint64_t len, struct err *e)
{
	m->len = len;
	m->p = calloc(1, m->len);
	return m->p ? 0 : err_nomem(e);
}

static void material_free(struct material *m)
{
	if (m->p)
		keymem_wipe(m->p, m->len);
	free(m->p);
}

int luks_digest_test(const struct luks *l, const uint8_t *key, struct err *e)
{
	const struct luks_digest *d = &l->digest;
	uint8_t value[LUKS_DIGEST_MAX];

	if (kdf_derive(
		&d->kdf, (const char *)key, l->key_len, value, d->len, e)) {
		err_prefix(e, "%s: LUKS digest: ", l->name);
		return -1;
	}
	return hash_equal(value, d->value, d->len);
}

/* The cipher of the slot's area with the key that the passphrase makes. */
static struct cipher *area_cipher(const struct luks *l,
    const struct luks_slot *s, const char *pass, struct err *e)
{
	struct cipher_spec spec = s->area;
	struct cipher *c = NULL;
	uint8_t *key;

	if (!spec.key_len &&
	    cipher_spec_parse(&spec, l->cipher, l->mode, s->key_len, e))
		return NULL;
	key = keymem_new(CIPHER_KEY_MAX, e);
	if (!key)
		return NULL;
	if (!kdf_derive(&s->kdf, pass, strlen(pass), key, spec.key_len, e))
		c = cipher_new(&spec, key, e);
	keymem_free(key, CIPHER_KEY_MAX);
	return c;
}

static int open_material(struct luks *l, const struct luks_slot *s,
    const char *pass, struct material *m, struct err *e)
{
	struct cipher *c;
	int rc;

	if (material_new(m, s->len, e) ||
	    host_pread(l->file, m->p, m->len, l->host + s->at, e))
		return -1;
	c = area_cipher(l, s, pass, e);
	if (!c)
		return -1;
	rc = cipher_decrypt(c, m->p, m->p, m->len, 0, e);
	cipher_free(c);
	return rc;
}

int luks_slot_open(
    struct luks *l, unsigned ix, const char *pass, uint8_t *key, struct err *e)
{
	const struct luks_slot *s = &l->slot[ix];
	struct material m = {0};
	int rc = open_material(l, s, pass, &m, e);

	if (!rc) {
		af_merge(s->af_hash, m.p, s->key_len, s->stripes, key);
		rc = luks_digest_test(l, key, e);
	} else {
		err_prefix(e, "%s: LUKS key slot %u: ", l->name, ix);
	}
	material_free(&m);
	return rc;
}

static int fill(
    struct luks *l, struct luks_slot *s, struct cipher *c, struct err *e)
{
	struct material m = {0};
	int rc;

	rc = material_new(&m, s->len, e) ||
		     af_split(
			 s->af_hash, l->key, s->key_len, s->stripes, m.p, e) ||
		     cipher_encrypt(c, m.p, m.p, m.len, 0, e) ||
		     host_pwrite(l->file, m.p, m.len, l->host + s->at, e) ||
		     host_sync(l->file, e)
		 ? -1
		 : 0;
	material_free(&m);
	return rc;
}

int luks_slot_fill(struct luks *l, unsigned ix, const char *pass, struct err *e)
{
	struct luks_slot *s = &l->slot[ix];
	struct cipher *c;
	int rc;

	if (random_bytes(s->kdf.salt, s->kdf.salt_len, e))
		return -1;
	c = area_cipher(l, s, pass, e);
	if (!c)
		return -1;
	rc = fill(l, s, c, e);
	cipher_free(c);
	return rc;
}

int luks_slot_wipe(struct luks *l, const struct luks_slot *s, struct err *e)
{
	struct material m = {0};
	int rc;

	if (material_new(&m, min_u64(s->area_len, WIPE_LEN), e))
		return -1;
	rc = random_bytes(m.p, m.len, e);
	for (uint64_t at = 0; !rc && at < s->area_len; at += m.len)
		rc = host_pwrite(l->file, m.p, min_u64(m.len, s->area_len - at),
		    l->host + s->at + at, e);
	if (!rc)
		rc = host_sync(l->file, e);
	material_free(&m);
	return rc;
}
