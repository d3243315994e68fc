/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The header of LUKS1: 592 bytes, of which the last 384 are eight key slots.
 * All numbers are big-endian; places are in sectors of 512 bytes.
 */
#include <inttypes.h>
#include <stdio.h>

#include "../core/units.h"
#include "luks.h"

#define CIPHER_AT     8u
#define MODE_AT	      40u
#define HASH_AT	      72u
#define NAME_LEN      32u
#define PAYLOAD_AT    104u
#define KEY_LEN_AT    108u
#define DIGEST_AT     112u
#define DIGEST_LEN    20u
#define SALT_AT	      132u
#define SALT_LEN      32u
#define ITERATIONS_AT 164u
#define UUID_AT	      168u
#define UUID_LEN      40u
#define SLOT_AT(i)    (208u + 48u * (i))
#define SLOT_ACTIVE   0x00ac71f3u
#define SLOT_INACTIVE 0x0000deadu
#define SLOTS_AT      4096u /* of headers that we make */
#define SLOT_ALIGN    4096u

static int bad(const struct luks *l, const char *field, uint64_t value,
    const char *allowed, struct err *e)
{
	return err_damaged(e, "%s: LUKS header: %s is %" PRIu64 ": must be %s",
	    l->name, field, value, allowed);
}

/* ---- reading ----------------------------------------------------------- */

/* A name ends with NUL, or with its field; it will be shown to users. */
static int get_text(const struct luks *l, char *out, const uint8_t *p,
    size_t max, const char *field, struct err *e)
{
	size_t len = strnlen((const char *)p, max);

	memcpy(out, p, len);
	out[len] = 0;
	for (size_t i = 0; i < len; i++)
		if (p[i] <= ' ' || p[i] > '~')
			return err_damaged(e,
			    "%s: LUKS header: %s has byte %#x: must be "
			    "printable "
			    "characters",
			    l->name, field, p[i]);
	return 0;
}

static void get_slot(struct luks *l, unsigned ix, const uint8_t *p)
{
	struct luks_slot *s = &l->slot[ix];

	s->active = be32(p) == SLOT_ACTIVE;
	s->kdf.kind = KDF_PBKDF2;
	s->kdf.hash = s->af_hash = hash_find(l->hash);
	s->kdf.iterations = be32(p + 4);
	memcpy(s->kdf.salt, p + 8, SALT_LEN);
	s->kdf.salt_len = SALT_LEN;
	s->at = (uint64_t)be32(p + 40) * SECTOR_LEN;
	s->stripes = be32(p + 44);
	if (!s->active && !s->stripes)
		s->stripes = LUKS_STRIPES;
	s->key_len = l->key_len;
	s->len = round_up((uint64_t)s->key_len * s->stripes, SECTOR_LEN);
	s->area_len = s->len;
	if (!s->af_hash)
		s->problem = "needs a hash that is not supported";
}

static int get_fields(struct luks *l, const uint8_t *p, struct err *e)
{
	struct luks_digest *d = &l->digest;

	if (get_text(l, l->cipher, p + CIPHER_AT, NAME_LEN, "cipher-name", e) ||
	    get_text(l, l->mode, p + MODE_AT, NAME_LEN, "cipher-mode", e) ||
	    get_text(l, l->hash, p + HASH_AT, NAME_LEN, "hash-spec", e) ||
	    get_text(l, l->uuid, p + UUID_AT, UUID_LEN, "uuid", e))
		return -1;
	l->payload = (uint64_t)be32(p + PAYLOAD_AT) * SECTOR_LEN;
	l->key_len = be32(p + KEY_LEN_AT);
	l->sector_len = SECTOR_LEN;
	d->kdf.kind = KDF_PBKDF2;
	d->kdf.hash = hash_find(l->hash);
	d->kdf.iterations = be32(p + ITERATIONS_AT);
	memcpy(d->kdf.salt, p + SALT_AT, SALT_LEN);
	d->kdf.salt_len = SALT_LEN;
	memcpy(d->value, p + DIGEST_AT, DIGEST_LEN);
	d->len = DIGEST_LEN;
	return 0;
}

static bool overlap(const struct luks_slot *a, const struct luks_slot *b)
{
	return a->at < b->at + b->len && b->at < a->at + a->len;
}

/* A slot that is written must harm nothing else. */
static int check_slot(const struct luks *l, unsigned ix, struct err *e)
{
	const struct luks_slot *s = &l->slot[ix];
	char field[48];

	snprintf(field, sizeof field, "stripes of key slot %u", ix);
	if (!s->stripes || s->stripes > LUKS_STRIPES_MAX)
		return bad(l, field, s->stripes, "1 to 16000", e);
	snprintf(field, sizeof field, "key material offset of key slot %u", ix);
	if (s->at < LUKS1_LEN || !range_ok(s->at, s->len, l->room))
		return bad(l, field, s->at / SECTOR_LEN,
		    "behind the header, and all of it in the file", e);
	if (l->payload && s->at + s->len > l->payload)
		return bad(l, field, s->at / SECTOR_LEN,
		    "such that it ends before the data", e);
	for (unsigned i = 0; i < ix; i++)
		if (overlap(s, &l->slot[i]))
			return bad(
			    l, field, s->at / SECTOR_LEN, "no other's", e);
	return 0;
}

int luks1_read(struct luks *l, const uint8_t *buf, struct err *e)
{
	if (l->room < LUKS1_LEN)
		return bad(l, "length of the file", l->room, "at least 592", e);
	if (get_fields(l, buf, e))
		return -1;
	if (!l->key_len || l->key_len > CIPHER_KEY_MAX)
		return bad(l, "key-bytes", l->key_len, "1 to 512", e);
	l->slot_n = LUKS1_SLOTS;
	for (unsigned i = 0; i < l->slot_n; i++) {
		uint32_t state = be32(buf + SLOT_AT(i));

		if (state != SLOT_ACTIVE && state != SLOT_INACTIVE)
			return bad(l, "state of a key slot", state,
			    "57005 or 11301363", e);
		get_slot(l, i, buf + SLOT_AT(i));
		if (check_slot(l, i, e))
			return -1;
	}
	return 0;
}

/* ---- writing ----------------------------------------------------------- */

static void put_text(uint8_t *p, const char *text, size_t max)
{
	memcpy(p, text, strnlen(text, max));
}

static void pack(const struct luks *l, uint8_t *p)
{
	const struct luks_digest *d = &l->digest;

	memset(p, 0, LUKS1_LEN);
	memcpy(p, LUKS_MAGIC, LUKS_MAGIC_LEN);
	put_be16(p + LUKS_MAGIC_LEN, 1);
	put_text(p + CIPHER_AT, l->cipher, NAME_LEN);
	put_text(p + MODE_AT, l->mode, NAME_LEN);
	put_text(p + HASH_AT, l->hash, NAME_LEN);
	put_be32(p + PAYLOAD_AT, (uint32_t)(l->payload / SECTOR_LEN));
	put_be32(p + KEY_LEN_AT, (uint32_t)l->key_len);
	memcpy(p + DIGEST_AT, d->value, DIGEST_LEN);
	memcpy(p + SALT_AT, d->kdf.salt, SALT_LEN);
	put_be32(p + ITERATIONS_AT, d->kdf.iterations);
	put_text(p + UUID_AT, l->uuid, UUID_LEN);
	for (unsigned i = 0; i < LUKS1_SLOTS; i++) {
		const struct luks_slot *s = &l->slot[i];
		uint8_t *at = p + SLOT_AT(i);

		put_be32(at, s->active ? SLOT_ACTIVE : SLOT_INACTIVE);
		if (s->active) {
			put_be32(at + 4, s->kdf.iterations);
			memcpy(at + 8, s->kdf.salt, SALT_LEN);
		}
		put_be32(at + 40, (uint32_t)(s->at / SECTOR_LEN));
		put_be32(at + 44, s->stripes);
	}
}

/* Key slot 6 lies in both sectors: what says that it is active, in the first,
 * goes last. */
int luks1_write(struct luks *l, struct err *e)
{
	uint8_t buf[LUKS1_LEN];

	pack(l, buf);
	if (host_pwrite(l->file, buf + SECTOR_LEN, LUKS1_LEN - SECTOR_LEN,
		l->host + SECTOR_LEN, e) ||
	    host_sync(l->file, e) ||
	    host_pwrite(l->file, buf, SECTOR_LEN, l->host, e))
		return -1;
	return host_sync(l->file, e);
}
