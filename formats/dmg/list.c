/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Where a dmg keeps its block tables: see dmg.h.
 *
 * A property list is text in XML.  A table is the base64 of a <data> element;
 * nothing else of the list matters, and nothing in it is expanded.
 *
 * A resource fork has a header with the offsets of its data and of its map.
 * The map has a list of types, and for each type a list of references to
 * resources in the data.
 */
#include <stdlib.h>

#include "../core/base64.h"
#include "../core/cleanup.h"
#include "dmg.h"

/* ---- the property list --------------------------------------------------- */

/* The text from p on, up to `end`, begins with this. */
static bool begins(const uint8_t *p, const uint8_t *end, const char *with)
{
	size_t n = strlen(with);

	return (size_t)(end - p) >= n && !memcmp(p, with, n);
}

/* Behind the next `text` from p on; `end` when there is none. */
static uint8_t *behind(uint8_t *p, uint8_t *end, const char *text)
{
	uint8_t *at = memmem(p, (size_t)(end - p), text, strlen(text));

	return at ? at + strlen(text) : end;
}

/* p is behind "<data>". */
static int one_element(
    struct dmg *d, uint8_t *p, const uint8_t *end, struct err *e)
{
	const uint8_t *stop = memchr(p, '<', (size_t)(end - p));
	size_t len = (size_t)((stop ? stop : end) - p);
	struct err why = ERR_INIT;

	if (base64_decode(p, &len, &why))
		return err_damaged(
		    e, "%s: dmg property list: <data>: %s", d->name, why.msg);
	return dmg_add_table(d, p, len, e);
}

int dmg_scan_list(struct dmg *d, uint8_t *text, size_t len, struct err *e)
{
	uint8_t *p = text, *end = text + len;

	while ((p = behind(p, end, "<")) < end) {
		if (begins(p, end, "!--")) {
			p = behind(p, end, "-->");
		} else if (begins(p, end, "data>")) {
			uint8_t *in = p + strlen("data>");

			p = behind(in, end, "</data>");
			if (one_element(d, in, p, e))
				return -1;
		}
	}
	return 0;
}

/* ---- the resource fork --------------------------------------------------- */

struct fork {
	const uint8_t *p;
	size_t len;
	uint32_t data, map; /* offsets in the fork */
	uint64_t used;	    /* bytes of it that were looked at */
};

static int bad_fork(const struct dmg *d, const char *what, uint64_t at,
    const struct fork *k, struct err *e)
{
	return err_damaged(e,
	    "%s: dmg resource fork: %s at %llu, the fork has %zu bytes",
	    d->name, what, (unsigned long long)at, k->len);
}

/*
 * A resource is its length and its bytes.  They lie side by side: references
 * to one again and again would give more chunks than there is memory.
 */
static int one_resource(
    struct dmg *d, struct fork *k, uint64_t ref, struct err *e)
{
	uint64_t at;

	if (!range_ok(ref, 12, k->len))
		return bad_fork(d, "a reference", ref, k, e);
	at = k->data + (be32(k->p + ref + 4) & 0xffffff);
	if (!range_ok(at, 4, k->len) ||
	    !range_ok(at + 4, be32(k->p + at), k->len))
		return bad_fork(d, "a resource", at, k, e);
	k->used += 12 + 4 + be32(k->p + at);
	if (k->used > k->len)
		return bad_fork(
		    d, "resources that overlap, the last", at, k, e);
	return dmg_add_table(d, k->p + at + 4, be32(k->p + at), e);
}

/* Counts in a fork are one less than what they count. */
static int one_type(
    struct dmg *d, struct fork *k, uint64_t list, uint64_t at, struct err *e)
{
	uint64_t ref = list + be16(k->p + at + 6);

	if (memcmp(k->p + at, "blkx", 4))
		return 0;
	for (unsigned n = be16(k->p + at + 4) + 1u; n--; ref += 12)
		if (one_resource(d, k, ref, e))
			return -1;
	return 0;
}

int dmg_scan_resources(
    struct dmg *d, const uint8_t *fork, size_t len, struct err *e)
{
	struct fork k = {.p = fork, .len = len};
	uint64_t list, at;
	unsigned n;

	if (len < 16)
		return bad_fork(d, "its header", 0, &k, e);
	k.data = be32(fork);
	k.map = be32(fork + 4);
	if (!range_ok(k.map, 28, len))
		return bad_fork(d, "the map", k.map, &k, e);
	list = (uint64_t)k.map + be16(fork + k.map + 24);
	if (!range_ok(list, 2, len))
		return bad_fork(d, "the list of types", list, &k, e);
	n = (be16(fork + list) + 1u) & 0xffff;
	for (at = list + 2; n--; at += 8) {
		if (!range_ok(at, 8, len))
			return bad_fork(d, "a type", at, &k, e);
		if (one_type(d, &k, list, at, e))
			return -1;
	}
	return 0;
}

/* ---- either -------------------------------------------------------------- */

int dmg_read_tables(struct dmg *d, struct hostfile *f, struct err *e)
{
	uint64_t at = d->list_len ? d->list : d->rsrc;
	size_t len = d->list_len ? d->list_len : d->rsrc_len;
	CLEANUP_FREE uint8_t *text = malloc(len + 1);

	if (!text)
		return err_nomem(e);
	if (len && host_pread(f, text, len, at, e))
		return -1;
	if (d->list_len ? dmg_scan_list(d, text, len, e)
			: len && dmg_scan_resources(d, text, len, e))
		return -1;
	if (d->n || !d->sectors)
		return 0;
	return err_damaged(e, "%s: dmg: no block table in %zu bytes of %s",
	    d->name, len, d->list_len ? "property list" : "resource fork");
}
