/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The two copies of a LUKS2 header: see luks2.h.
 *
 * Each has a checksum and a sequence number; the newer one of those that are
 * whole counts.  The second copy lies behind the first, at one of nine places
 * that do not depend on anything that the first one says.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "../core/units.h"
#include "luks2.h"

#define SECOND_MAGIC "SKUL\xba\xbe"
#define LEN_AT	     8u
#define SEQID_AT     16u
#define SUM_NAME_AT  72u
#define SUM_NAME_LEN 32u
#define UUID_AT	     168u
#define UUID_LEN     40u
#define OFFSET_AT    256u
#define SUM_AT	     448u
#define SUM_LEN	     64u

/* One copy, whole. */
struct copy {
	uint8_t *p; /* binary header and JSON area; NULL: there is none */
	uint64_t len, seqid;
};

/* ---- one copy ---------------------------------------------------------- */

static bool sum_is_right(uint8_t *p, uint64_t len)
{
	uint8_t want[SUM_LEN], got[HASH_LEN_MAX];
	char name[SUM_NAME_LEN + 1] = "";
	int hash;

	memcpy(name, p + SUM_NAME_AT, SUM_NAME_LEN);
	hash = hash_find(name);
	if (!hash)
		return false;
	memcpy(want, p + SUM_AT, SUM_LEN);
	memset(p + SUM_AT, 0, SUM_LEN);
	hash_bytes(hash, p, len, got);
	memcpy(p + SUM_AT, want, SUM_LEN);
	return hash_equal(want, got, hash_len(hash));
}

/* Does a header with that magic begin at `at`, and how long is it?  0: no. */
static uint64_t header_len(
    const uint8_t *p, const char *magic, uint64_t at, uint64_t room)
{
	uint64_t len = be64(p + LEN_AT);

	if (memcmp(p, magic, LUKS_MAGIC_LEN) || be16(p + LUKS_MAGIC_LEN) != 2 ||
	    be64(p + OFFSET_AT) != at || !is_pow2(len) ||
	    len < LUKS2_HEADER_MIN || len > LUKS2_HEADER_MAX ||
	    !range_ok(at, len, room))
		return 0;
	return len;
}

/* Where there is no whole copy, c->p is NULL. */
static int read_copy(struct luks *l, struct copy *c, const char *magic,
    uint64_t at, struct err *e)
{
	uint8_t bin[512];

	*c = (struct copy){0};
	if (!range_ok(at, LUKS2_BIN_LEN, l->room))
		return 0;
	if (host_pread(l->file, bin, sizeof bin, l->host + at, e))
		return -1;
	c->len = header_len(bin, magic, at, l->room);
	if (!c->len)
		return 0;
	c->p = malloc(c->len + 1);
	if (!c->p)
		return err_nomem(e);
	c->p[c->len] = 0;
	c->seqid = be64(bin + SEQID_AT);
	if (!host_pread(l->file, c->p, c->len, l->host + at, e) &&
	    sum_is_right(c->p, c->len))
		return 0;
	free(take(c->p));
	return err_is_set(e) ? -1 : 0;
}

/* The second copy lies where the first one ends; if that cannot be told, at
 * some power of two. */
static int read_second(
    struct luks *l, const struct copy *first, struct copy *c, struct err *e)
{
	uint64_t at = first->p ? first->len : LUKS2_HEADER_MIN;
	uint64_t last = first->p ? first->len : LUKS2_HEADER_MAX;

	for (*c = (struct copy){0}; !c->p && at <= last; at *= 2)
		if (read_copy(l, c, SECOND_MAGIC, at, e))
			return -1;
	return 0;
}

/* ---- metadata ---------------------------------------------------------- */

static void get_uuid(struct luks *l, const uint8_t *p)
{
	size_t n = 0;

	for (; n < UUID_LEN && p[n] > ' ' && p[n] <= '~'; n++)
		l->uuid[n] = (char)p[n];
	l->uuid[n] = 0;
}

static int use_copy(struct luks *l, const struct copy *c, struct err *e)
{
	const char *text = (const char *)c->p + LUKS2_BIN_LEN;
	json_error_t why;
	json_t *root =
	    json_loadb(text, strlen(text), JSON_REJECT_DUPLICATES, &why);
	int rc;

	if (!root)
		return err_damaged(e, "%s: LUKS2 metadata: line %d: %s",
		    l->name, why.line, why.text);
	get_uuid(l, c->p + UUID_AT);
	rc = luks2_metadata(l, root, 2 * c->len, e);
	json_decref(root);
	return rc;
}

static int read_both(struct luks *l, struct copy *c, struct err *e)
{
	if (read_copy(l, &c[0], LUKS_MAGIC, 0, e) ||
	    read_second(l, &c[0], &c[1], e))
		return -1;
	if (!c[0].p && !c[1].p)
		return err_damaged(e,
		    "%s: LUKS2 header: both copies are damaged, or their "
		    "checksum is not supported",
		    l->name);
	if (c[0].p && (!c[1].p || c[0].seqid >= c[1].seqid))
		return use_copy(l, &c[0], e);
	return use_copy(l, &c[1], e);
}

int luks2_read(struct luks *l, struct err *e)
{
	struct copy c[2] = {0};
	int rc = read_both(l, c, e);

	free(c[0].p);
	free(c[1].p);
	return rc;
}

int luks2_read_second(struct luks *l, struct err *e)
{
	struct copy c, none = {0};
	int rc = read_second(l, &none, &c, e);

	if (!rc && !c.p)
		rc = err_set(
		    e, ERR_NOT_FORMAT, EINVAL, "Volume is not in LUKS format");
	l->version = 2;
	if (!rc)
		rc = use_copy(l, &c, e);
	free(c.p);
	return rc;
}

/* ---- info -------------------------------------------------------------- */

static json_t *describe_slot(const struct luks_slot *s, unsigned ix)
{
	static const char *const kinds[] = {
	    [KDF_PBKDF2] = "pbkdf2",
	    [KDF_ARGON2I] = "argon2i",
	    [KDF_ARGON2ID] = "argon2id",
	};
	json_t *o = json_pack("{s:i,s:s,s:I}", "keyslot", (int)ix, "kdf",
	    kinds[s->kdf.kind], "iters", (json_int_t)s->kdf.iterations);

	if (s->kdf.kind != KDF_PBKDF2) {
		json_object_set_new(o, "memory",
		    json_integer((json_int_t)s->kdf.memory_kib * 1024));
		json_object_set_new(
		    o, "threads", json_integer((json_int_t)s->kdf.lanes));
	}
	json_object_set_new(o, "key-offset", json_integer((json_int_t)s->at));
	json_object_set_new(o, "stripes", json_integer(s->stripes));
	return o;
}

json_t *luks2_describe(const struct luks *l, bool detached, const char *format)
{
	json_t *o = json_pack("{s:i,s:s,s:s,s:s,s:i,s:i}", "version", 2,
	    "cipher", l->cipher, "cipher-mode", l->mode, "uuid", l->uuid,
	    "key-bits", (int)l->key_len * 8, "sector-size", (int)l->sector_len);
	json_t *list = json_array();

	if (format)
		json_object_set_new(o, "format", json_string(format));
	for (unsigned i = 0; i < l->slot_n; i++)
		if (l->slot[i].active)
			json_array_append_new(
			    list, describe_slot(&l->slot[i], i));
	json_object_set_new(o, "slots", list);
	json_object_set_new(
	    o, "payload-offset", json_integer((json_int_t)l->payload));
	json_object_set_new(o, "detached-header", json_boolean(detached));
	return o;
}
