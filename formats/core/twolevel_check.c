/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Two levels of tables: check and repair.  See twolevel.h.
 *
 * Every table and every cluster claims its place.  Who claims one that has an
 * owner, or that is not in the file, is an error; what nobody has claimed is a
 * leak.  Packed bytes come first and may share clusters with each other; then
 * tables, then data.
 *
 * A repair makes holes of entries that point to no place, gives data whose
 * cluster has an owner a copy of it, and cuts leaks off the end of the file.
 */
#include <inttypes.h>
#include <stdio.h>

#include "duplicate.h"
#include "request.h"
#include "twolevel.h"

/* Tables beyond twice those that fit the file: a few may be damaged. */
#define TABLES_SPARE 16u

enum turn { TURN_PACKED, TURN_TABLES, TURN_DATA };

struct check {
	struct image *img;
	struct twolevel *t;
	struct img_check *out;
	void (*report)(void *arg, const char *line);
	void *arg;
	struct space space;	 /* who owns what */
	struct clusterset twice; /* clusters of tables with two owners */
	uint64_t file_len;	 /* host bytes before the repair adds some */
	uint64_t owned_n;	 /* clusters with an owner */
	uint64_t table_n;	 /* tables, counted in each turn */
	uint64_t used_end;	 /* host byte: nothing is behind it */
	uint64_t last_host;	 /* of the entry before; 0: none */
	enum turn turn;
	bool repair;
	bool in_twice; /* the entries are another table's too */
};

static void say(struct check *c, const char *what, uint64_t at, uint64_t value)
{
	char line[160];

	c->out->corruptions++;
	if (!c->report)
		return;
	snprintf(line, sizeof line, "ERROR %s %" PRIu64 ": %#" PRIx64, what, at,
	    value);
	c->report(c->arg, line);
}

/* 1: somebody else owns some of it. */
static int claim(struct check *c, uint64_t host, uint64_t len, struct err *e)
{
	uint64_t unit = c->t->cluster_len;
	uint64_t end = round_up(host + len, unit);
	int taken = 0;

	c->used_end = max_u64(c->used_end, end);
	for (uint64_t at = round_down(host, unit); at < end; at += unit) {
		int rc = space_claim(&c->space, at, unit, e);

		if (rc < 0)
			return -1;
		c->owned_n += !rc;
		taken |= rc;
	}
	return taken;
}

/* ---- entries ---------------------------------------------------------------
 */

static int clear_entry(
    struct check *c, struct table *s, uint8_t *at, struct err *e)
{
	size_t off = (size_t)(at - s->data);

	if (tables_change(c->t->tables, s, e))
		return -1;
	twolevel_put(c->t, s->data + off, 0);
	c->out->corruptions_fixed++;
	return 0;
}

/* Where the table has one owner: else each would change the other's. */
static int own_copy(struct check *c, struct table *s, uint8_t *at,
    struct twolevel_entry *n, struct err *e)
{
	struct twolevel *t = c->t;
	uint64_t from = n->host, got;
	size_t off = (size_t)(at - s->data);

	if (c->in_twice)
		return 0;
	if (space_take(
		&t->space, t->cluster_len, t->cluster_len, &n->host, &got, e) ||
	    duplicate(c->img->file, from, n->host, t->cluster_len, e) ||
	    tables_change(t->tables, s, e))
		return -1;
	twolevel_put(t, s->data + off, t->encode(c->img, n));
	c->used_end = max_u64(c->used_end, n->host + t->cluster_len);
	c->out->corruptions_fixed++;
	return 0;
}

static int count_entry(struct check *c, struct table *s, uint8_t *at,
    struct twolevel_entry *n, uint64_t guest, struct err *e)
{
	int rc;

	c->out->allocated++;
	c->out->packed += n->kind == EXT_PACKED;
	if (c->last_host && n->host != c->last_host + c->t->cluster_len)
		c->out->fragmented++;
	c->last_host = n->host;
	rc = claim(
	    c, n->host, n->kind == EXT_DATA ? c->t->cluster_len : n->stored, e);
	if (rc <= 0 || n->kind != EXT_DATA)
		return rc < 0 ? -1 : 0;
	say(c, "cluster with more than one owner, guest offset", guest,
	    n->host);
	return c->repair ? own_copy(c, s, at, n, e) : 0;
}

static int check_entry(struct check *c, struct table *s, uint8_t *at,
    uint64_t guest, struct err *e)
{
	uint64_t entry = twolevel_get(c->t, at);
	struct twolevel_entry n;

	c->t->decode(c->img, entry, &n);
	if (n.kind == EXT_HOLE || n.kind == EXT_ZERO ||
	    (n.kind == EXT_PACKED) != (c->turn == TURN_PACKED))
		return 0;
	if (n.host < c->file_len &&
	    twolevel_entry_ok(
		c->t, &n, round_up(c->file_len, c->t->cluster_len)))
		return count_entry(c, s, at, &n, guest, e);
	say(c, "entry that is no place of the file, guest offset", guest,
	    entry);
	return c->repair ? clear_entry(c, s, at, e) : 0;
}

/* A table that many entries of the directory name would be looked at as often:
 * a damaged image could keep us busy for days. */
static int count_table(struct check *c, struct err *e)
{
	uint64_t len = host_size(c->img->file);
	uint64_t max_n = 2 * (len / twolevel_table_len(c->t)) + TABLES_SPARE;

	if (++c->table_n <= max_n)
		return 0;
	return err_damaged(e,
	    "%s: more than %" PRIu64 " tables of %" PRIu64
	    " bytes in a file of %" PRIu64,
	    c->img->name, max_n, twolevel_table_len(c->t), len);
}

static int check_table(
    struct check *c, uint64_t host, uint64_t guest, struct err *e)
{
	uint64_t per_piece = TWOLEVEL_SLICE_LEN / 8;

	c->last_host = 0;
	for (uint64_t ix = 0; ix < c->t->table_n; ix += per_piece) {
		uint64_t n = min_u64(per_piece, c->t->table_n - ix);
		uint8_t *at;
		struct table *s = twolevel_table(c->img, host, ix, &at, e);
		int rc = s ? 0 : -1;

		for (uint64_t i = 0; !rc && i < n; i++) {
			/* The table may have moved. */
			rc = check_entry(c, s, s->data + i * 8,
			    guest + (ix + i) * c->t->cluster_len, e);
		}
		tables_put(c->t->tables, s);
		if (rc || image_work(c->img, n, e))
			return -1;
	}
	return 0;
}

/* ---- the directory ----------------------------------------------------------
 */

static uint64_t first_cl(const struct check *c, uint64_t host)
{
	return host / c->t->cluster_len;
}

static uint64_t table_cl(const struct check *c, uint64_t host)
{
	uint64_t end = host + twolevel_table_len(c->t);

	return div_up(end, c->t->cluster_len) - first_cl(c, host);
}

static int claim_table(
    struct check *c, uint64_t ix, uint64_t host, struct err *e)
{
	int rc = claim(c, host, twolevel_table_len(c->t), e);

	if (rc <= 0)
		return rc;
	say(c, "table with more than one owner, index", ix, host);
	return clusterset_add(
	    &c->twice, first_cl(c, host), table_cl(c, host), e);
}

static int check_dir_entry(struct check *c, uint64_t ix, struct err *e)
{
	uint8_t *at;
	struct table *s = twolevel_dir(c->img, ix, &at, e);
	uint64_t host;
	bool ok;
	int rc = 0;

	if (!s)
		return -1;
	host = twolevel_get(c->t, at);
	ok = twolevel_table_ok(c->t, host) && host < host_size(c->img->file);
	if (host && !ok && c->turn == TURN_TABLES) {
		say(c, "directory entry that is no place of the file", ix,
		    host);
		rc = c->repair ? clear_entry(c, s, at, e) : 0;
	}
	tables_put(c->t->tables, s);
	if (rc || !host || !ok)
		return rc;
	if (count_table(c, e))
		return -1;
	if (c->turn == TURN_TABLES)
		return claim_table(c, ix, host, e);
	c->in_twice =
	    clusterset_any(&c->twice, first_cl(c, host), table_cl(c, host));
	return check_table(c, host, ix * twolevel_span(c->t), e);
}

static int check_turn(struct check *c, enum turn turn, struct err *e)
{
	c->turn = turn;
	c->table_n = 0;
	for (uint64_t ix = 0; ix < c->t->dir_n;) {
		uint64_t n;

		if (twolevel_dir_hole(c->img, ix, &n, e) ||
		    (!n && check_dir_entry(c, ix, e)))
			return -1;
		ix += max_u64(n, 1);
	}
	return 0;
}

static int scan(struct check *c, struct err *e)
{
	uint64_t file_len = host_size(c->img->file), unit = c->t->cluster_len;
	uint64_t dir_len = c->t->dir_n * 8;

	c->file_len = file_len;
	image_work_begin(c->img, 2 * c->t->dir_n * c->t->table_n);
	space_init(&c->space, 0, unit, file_len, round_down(INT64_MAX, unit));
	if (space_scan_begin(&c->space, e))
		return err_prefix(e, "%s: ", c->img->name), -1;
	if ((c->img->drv->info.can_pack && check_turn(c, TURN_PACKED, e)) ||
	    claim(c, 0, c->t->head_len, e) < 0 ||
	    (c->t->name_len &&
		claim(c, c->t->name_host, c->t->name_len, e) < 0) ||
	    (dir_len && claim(c, c->t->dir_host, dir_len, e) < 0) ||
	    check_turn(c, TURN_TABLES, e) || check_turn(c, TURN_DATA, e))
		return -1;
	c->out->leaks = div_up(file_len, unit) - c->owned_n;
	c->out->total = div_up(img_size(c->img), unit);
	return 0;
}

static int check(struct check *c, struct err *e)
{
	int rc;

	if (image_writable(c->img) && image_commit(c->img, e))
		return -1;
	clusterset_init(&c->twice);
	rwlock_excl(&c->img->meta);
	rc = scan(c, e);
	rwlock_excl_end(&c->img->meta);
	clusterset_destroy(&c->twice);
	space_destroy(&c->space);
	return rc;
}

int twolevel_check(struct image *img, struct img_check *out,
    void (*report)(void *, const char *), void *arg, struct err *e)
{
	struct check c = {.img = img,
	    .t = twolevel_of(img),
	    .out = out,
	    .report = report,
	    .arg = arg};

	return check(&c, e);
}

/* ---- repair -----------------------------------------------------------------
 */

/* What nobody owns at the end of the file goes. */
static int cut_end(struct check *c, struct err *e)
{
	uint64_t len = host_size(c->img->file);

	if (c->used_end >= len || c->img->file->fixed_size)
		return 0;
	if (host_truncate(c->img->file, c->used_end, e))
		return -1;
	c->out->leaks_fixed += div_up(len - c->used_end, c->t->cluster_len);
	space_destroy(&c->t->space);
	space_init(&c->t->space, 0, c->t->cluster_len, c->used_end,
	    round_down(INT64_MAX, c->t->cluster_len));
	return 0;
}

int twolevel_repair(struct image *img, enum img_repair what,
    struct img_check *out, void (*report)(void *, const char *), void *arg,
    struct err *e)
{
	struct check c = {.img = img,
	    .t = twolevel_of(img),
	    .out = out,
	    .report = report,
	    .arg = arg,
	    .repair = what == IMG_REPAIR_ALL};
	uint64_t corruptions_fixed, leaks_fixed;

	if (check(&c, e) || image_commit(img, e) || cut_end(&c, e))
		return image_fail(img, e);
	/* No entry points past the end any more, but to copies. */
	if (c.repair)
		c.t->first_end = space_end(&c.t->space);
	if (!out->corruptions_fixed && !out->leaks_fixed)
		return 0;
	corruptions_fixed = out->corruptions_fixed;
	leaks_fixed = out->leaks_fixed;
	*out = (struct img_check){
	    .corruptions_fixed = corruptions_fixed, .leaks_fixed = leaks_fixed};
	return twolevel_check(img, out, report, arg, e);
}
