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

#define SUM_NAME_LEN 32u
/* Values in the metadata: each takes much more memory than its text. */
#define VALUES_MAX 50000u

/* One copy, whole. */
struct copy {
	uint8_t *p; /* binary header and JSON area; NULL: there is none */
	uint64_t len, seqid;
};

/* ---- one copy ---------------------------------------------------------- */

size_t luks2_sum(const uint8_t *p, uint64_t len, uint8_t *out)
{
	char name[SUM_NAME_LEN + 1] = "";
	int hash;

	memcpy(name, p + LUKS2_SUM_NAME_AT, SUM_NAME_LEN);
	hash = hash_find(name);
	if (!hash)
		return 0;
	hash_bytes(hash, p, len, out);
	return hash_len(hash);
}

static bool sum_is_right(uint8_t *p, uint64_t len)
{
	uint8_t want[LUKS2_SUM_LEN], got[HASH_LEN_MAX];
	size_t sum_len;

	memcpy(want, p + LUKS2_SUM_AT, LUKS2_SUM_LEN);
	memset(p + LUKS2_SUM_AT, 0, LUKS2_SUM_LEN);
	sum_len = luks2_sum(p, len, got);
	memcpy(p + LUKS2_SUM_AT, want, LUKS2_SUM_LEN);
	return sum_len && hash_equal(want, got, sum_len);
}

/* Does a header with that magic begin at `at`, and how long is it?  0: no. */
static uint64_t header_len(
    const uint8_t *p, const char *magic, uint64_t at, uint64_t room)
{
	uint64_t len = be64(p + LUKS2_LEN_AT);

	if (memcmp(p, magic, LUKS_MAGIC_LEN) || be16(p + LUKS_MAGIC_LEN) != 2 ||
	    be64(p + LUKS2_OFFSET_AT) != at || !is_pow2(len) ||
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
	c->seqid = be64(bin + LUKS2_SEQID_AT);
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
		if (read_copy(l, c, LUKS2_SECOND_MAGIC, at, e))
			return -1;
	return 0;
}

/* ---- metadata ---------------------------------------------------------- */

struct luks2 *luks2_new(struct err *e)
{
	struct luks2 *v = calloc(1, sizeof *v);

	if (!v)
		err_nomem(e);
	return v;
}

void luks2_free(struct luks2 *v)
{
	if (!v)
		return;
	json_decref(v->root);
	free(v);
}

static void get_uuid(struct luks *l, const uint8_t *p)
{
	size_t n = 0;

	for (; n < LUKS2_UUID_LEN && p[n] > ' ' && p[n] <= '~'; n++)
		l->uuid[n] = (char)p[n];
	l->uuid[n] = 0;
}

/* No fewer than there are. */
static size_t count_values(const char *text)
{
	size_t n = 0;

	for (; *text; text++)
		n += *text == '[' || *text == '{' || *text == ',';
	return n;
}

static json_t *parse(const struct luks *l, const char *text, struct err *e)
{
	json_error_t why;
	json_t *root;

	if (count_values(text) > VALUES_MAX) {
		err_damaged(e,
		    "%s: LUKS2 metadata: more than %u values: no header needs "
		    "so many",
		    l->name, VALUES_MAX);
		return NULL;
	}
	root = json_loadb(text, strlen(text), JSON_REJECT_DUPLICATES, &why);
	if (!root)
		err_damaged(e, "%s: LUKS2 metadata: line %d: %s", l->name,
		    why.line, why.text);
	return root;
}

static int use_copy(
    struct luks *l, const struct copy *c, bool second, struct err *e)
{
	struct luks2 *v = l->v2 = luks2_new(e);

	if (!v)
		return -1;
	v->len = c->len;
	v->seqid = c->seqid;
	v->second = second;
	memcpy(v->bin, c->p, LUKS2_BIN_LEN);
	get_uuid(l, c->p + LUKS2_UUID_AT);
	v->root = parse(l, (const char *)c->p + LUKS2_BIN_LEN, e);
	return v->root ? luks2_metadata(l, e) : -1;
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
		return use_copy(l, &c[0], false, e);
	return use_copy(l, &c[1], true, e);
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
		rc = use_copy(l, &c, true, e);
	free(c.p);
	return rc;
}
