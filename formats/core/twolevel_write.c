/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Two levels of tables: changing the mapping.  See twolevel.h.
 *
 * reserve takes the table too that publish will need: it enters the directory
 * at once, with holes for entries.
 */
#include <errno.h>
#include <inttypes.h>

#include "request.h"
#include "twolevel.h"

/* ---- tables ----------------------------------------------------------------
 */

/* Entries of zero in new space. */
static int clear_table(struct image *img, uint64_t host, struct err *e)
{
	struct twolevel *t = twolevel_of(img);
	uint64_t len = twolevel_table_len(t);

	/* A large one is not held in memory. */
	if (len > TABLE_LEN_MAX)
		return host_zero(img->file, host, len, HOST_ZERO_PUNCH, e);
	for (uint64_t off = 0; off < len; off += TWOLEVEL_SLICE_LEN) {
		struct table *s = tables_new(t->tables, host + off,
		    (uint32_t)min_u64(TWOLEVEL_SLICE_LEN, len - off),
		    TABLE_ROOT, e);

		if (!s)
			return -1;
		tables_put(t->tables, s);
	}
	return 0;
}

static int set_dir(
    struct image *img, uint64_t dir_ix, uint64_t host, struct err *e)
{
	struct twolevel *t = twolevel_of(img);
	uint8_t *at;
	struct table *s = twolevel_dir(img, dir_ix, &at, e);
	size_t off;
	int rc;

	if (!s)
		return -1;
	off = (size_t)(at - s->data);
	rc = tables_change(t->tables, s, e);
	if (!rc)
		twolevel_put(t, s->data + off, host);
	tables_put(t->tables, s);
	return rc;
}

/* The table that maps `guest`, made where there is none. */
static int own_table(
    struct image *img, uint64_t guest, uint64_t *host, struct err *e)
{
	struct twolevel *t = twolevel_of(img);
	uint64_t room = twolevel_table_room(t), got;

	if (twolevel_table_host(img, guest / twolevel_span(t), host, e))
		return -1;
	if (*host)
		return 0;
	if (space_take(&t->space, room, room, host, &got, e))
		return -1;
	/* From here on a failure leaves clusters without owner. */
	if (clusterset_add(
		&t->meta, *host / t->cluster_len, room / t->cluster_len, e) ||
	    clear_table(img, *host, e) ||
	    set_dir(img, guest / twolevel_span(t), *host, e))
		return image_fail(img, e);
	return 0;
}

static int touch(struct image *img, struct err *e)
{
	const struct twolevel *t = twolevel_of(img);

	return t->touch ? t->touch(img, e) : 0;
}

/* ---- entries ---------------------------------------------------------------
 */

/* A piece of a table, with some of its entries. */
struct entries {
	struct table *s;
	uint8_t *at;
	uint64_t n;  /* from `at` to the end of the piece */
	uint64_t ix; /* of the piece */
};

static int entries_get(struct image *img, uint64_t guest, uint64_t table_host,
    struct entries *x, struct err *e)
{
	struct twolevel *t = twolevel_of(img);
	uint64_t ix = guest % twolevel_span(t) / t->cluster_len;
	uint64_t per_piece = TWOLEVEL_SLICE_LEN / 8;

	x->s = twolevel_table(img, table_host, ix, &x->at, e);
	x->n = min_u64(per_piece - ix % per_piece, t->table_n - ix);
	x->ix = twolevel_piece_ix(t, guest);
	return x->s ? 0 : -1;
}

static void entry_at(const struct image *img, const struct entries *x,
    uint64_t i, struct twolevel_entry *n)
{
	const struct twolevel *t = twolevel_of(img);

	t->decode(img, twolevel_get(t, x->at + i * 8), n);
}

static int entry_check(struct image *img, const struct twolevel_entry *n,
    const struct entries *x, uint64_t guest, struct err *e)
{
	const struct twolevel *t = twolevel_of(img);

	if (twolevel_entry_ok(t, n, twolevel_piece_end(t, x->ix)))
		return 0;
	return err_set(e, ERR_DAMAGED, EIO,
	    "%s: the table entry of guest offset %" PRIu64 " is damaged",
	    img->name, guest);
}

/*
 * From now on the entries may point to what was taken since the image was
 * opened.  One that pointed there before would be taken for such.
 */
static int make_ours(struct image *img, const struct entries *x, struct err *e)
{
	struct twolevel *t = twolevel_of(img);
	uint64_t per_piece = min_u64(t->table_n, TWOLEVEL_SLICE_LEN / 8);
	struct entries first = {.at = x->s->data};
	struct twolevel_entry n;

	if (clusterset_any(&t->ours, x->ix, 1))
		return 0;
	for (uint64_t i = 0; i < per_piece; i++) {
		entry_at(img, &first, i, &n);
		if (!twolevel_entry_ok(t, &n, t->first_end) &&
		    twolevel_entry_ok(t, &n, INT64_MAX))
			return err_set(e, ERR_DAMAGED, EIO,
			    "%s: the table entry of guest offset %" PRIu64
			    " points past the end of the file, at %#" PRIx64
			    ": its neighbours cannot be changed before a "
			    "repair",
			    img->name, (x->ix * per_piece + i) * t->cluster_len,
			    n.host);
	}
	return clusterset_add(&t->ours, x->ix, 1, e);
}

/* Announce that they change; x->at may move. */
static int entries_change(struct image *img, struct entries *x, struct err *e)
{
	size_t off = (size_t)(x->at - x->s->data);
	int rc = make_ours(img, x, e);

	if (!rc)
		rc = tables_change(twolevel_of(img)->tables, x->s, e);
	x->at = x->s->data + off;
	return rc;
}

/*
 * A cluster that an entry gives up.  Packed bytes stay where they are: who else
 * has bytes of those clusters is not known.
 */
static int retire(struct image *img, const struct twolevel_entry *n, bool punch,
    struct err *e)
{
	struct twolevel *t = twolevel_of(img);

	if (n->kind != EXT_DATA || !is_aligned(n->host, t->cluster_len))
		return 0;
	if (clusterset_any(&t->meta, n->host / t->cluster_len, 1)) {
		err_set(e, ERR_DAMAGED, EIO,
		    "%s: the cluster at %#" PRIx64
		    " is both data and a live table",
		    img->name, n->host);
		return image_fail(img, e);
	}
	return image_retire(img, n->host, t->cluster_len, true, punch, e);
}

/* ---- reserve, publish, abandon ----------------------------------------------
 */

static int reserve_packed(struct image *img, uint64_t guest, uint64_t stored,
    struct reservation *r, struct err *e)
{
	struct twolevel *t = twolevel_of(img);
	uint64_t room = t->cluster_len - t->packed_host % t->cluster_len;
	uint64_t next, got;

	if (!t->packed_host || stored > room) {
		if (space_take(&t->space, t->cluster_len, t->cluster_len, &next,
			&got, e))
			return -1;
		/* It goes on in the next cluster, if that one was free. */
		if (!t->packed_host || next != t->packed_host + room)
			t->packed_host = next;
	}
	r->guest = guest;
	r->len = t->cluster_len;
	r->file = img->file;
	r->host = t->packed_host;
	r->stored = stored;
	t->packed_host += stored;
	if (is_aligned(t->packed_host, t->cluster_len))
		t->packed_host = 0;
	return 0;
}

/* From the entry of `guest` on, at most cl_n, those without a cluster. */
static int count_free(struct image *img, uint64_t guest,
    const struct entries *x, uint64_t *cl_n, struct err *e)
{
	struct twolevel_entry n;
	uint64_t i;

	entry_at(img, x, 0, &n);
	if (entry_check(img, &n, x, guest, e))
		return -1;
	*cl_n = min_u64(*cl_n, x->n);
	for (i = 1; i < *cl_n; i++) {
		entry_at(img, x, i, &n);
		if (n.kind == EXT_DATA)
			break;
	}
	*cl_n = i;
	return 0;
}

static int reserve_clusters(struct image *img, uint64_t guest, uint64_t len,
    const struct entries *x, struct reservation *r, struct err *e)
{
	struct twolevel *t = twolevel_of(img);
	uint64_t first = round_down(guest, t->cluster_len);
	uint64_t cl_n = div_up(guest + len - first, t->cluster_len);

	if (count_free(img, guest, x, &cl_n, e) ||
	    space_take(&t->space, t->cluster_len, cl_n * t->cluster_len,
		&r->host, &r->len, e))
		return -1;
	r->guest = first;
	r->file = img->file;
	r->zeroed = r->host >= host_size(img->file);
	return 0;
}

int twolevel_reserve(struct image *img, uint64_t guest, uint64_t len,
    uint64_t stored, struct reservation *r, struct err *e)
{
	uint64_t table_host;
	struct entries x;
	int rc;

	if (touch(img, e) || own_table(img, guest, &table_host, e) ||
	    entries_get(img, guest, table_host, &x, e))
		return -1;
	/* What publish must not find out. */
	rc = make_ours(img, &x, e);
	if (!rc)
		rc = stored ? reserve_packed(img, guest, stored, r, e)
			    : reserve_clusters(img, guest, len, &x, r, e);
	tables_put(twolevel_of(img)->tables, x.s);
	return rc;
}

/* A reservation stays inside one piece of a table. */
int twolevel_publish(
    struct image *img, const struct reservation *r, struct err *e)
{
	struct twolevel *t = twolevel_of(img);
	struct twolevel_entry old,
	    n = {.kind = r->stored ? EXT_PACKED : EXT_DATA,
		.host = r->host,
		.stored = (uint32_t)r->stored};
	uint64_t host;
	struct entries x;
	int rc;

	if (twolevel_table_host(img, r->guest / twolevel_span(t), &host, e) ||
	    entries_get(img, r->guest, host, &x, e))
		return -1;
	rc = entries_change(img, &x, e);
	for (uint64_t i = 0; !rc && i < r->len / t->cluster_len; i++) {
		entry_at(img, &x, i, &old);
		rc = retire(img, &old, false, e);
		if (!rc)
			twolevel_put(t, x.at + i * 8, t->encode(img, &n));
		n.host += t->cluster_len;
	}
	tables_put(t->tables, x.s);
	return rc;
}

void twolevel_abandon(struct image *img, const struct reservation *r)
{
	if (!r->stored)
		space_give(&twolevel_of(img)->space, r->host, r->len);
}

int twolevel_release(
    struct image *img, uint64_t host, uint64_t len, struct err *e)
{
	(void)e;
	space_give(&twolevel_of(img)->space, host, len);
	return 0;
}

int twolevel_commit(struct image *img, struct err *e)
{
	struct twolevel *t = twolevel_of(img);
	struct err ignored = ERR_INIT;
	uint64_t end;

	rwlock_shared(&img->meta);
	end = space_end(&t->space);
	rwlock_shared_end(&img->meta);
	/* Other readers want whole clusters.  Past the end of the file we read
	 * the same zeroes. */
	if (tables_dirty_len(t->tables))
		host_grow(img->file, end, &ignored);
	return tables_commit(t->tables, NULL, image_commit_mark, img, e);
}

/* ---- unmap ------------------------------------------------------------------
 */

/*
 * What the entry becomes: itself where it cannot be changed.  Where a backing
 * image is below, only an entry for zeroes hides it; a hole without one is left
 * a hole.
 */
static enum ext_kind fate_of(
    const struct image *img, const struct twolevel_entry *n, enum unmap_how how)
{
	const struct twolevel *t = twolevel_of(img);

	if (n->kind == EXT_HOLE && !img->has_backing &&
	    (how == UNMAP_TRIM || !t->has_zero))
		return EXT_HOLE;
	if (t->has_zero)
		return EXT_ZERO;
	return img->has_backing ? n->kind : EXT_HOLE;
}

/* The first *cl_n entries, as many as can be done. */
static int unmap_entries(struct image *img, struct entries *x, uint64_t guest,
    enum unmap_how how, uint64_t *cl_n, struct err *e)
{
	const struct twolevel *t = twolevel_of(img);
	bool punch = how != UNMAP_ZERO && (img->flags & IMG_O_DISCARD);
	uint64_t i;

	for (i = 0; i < *cl_n; i++) {
		struct twolevel_entry old, n = {0};

		entry_at(img, x, i, &old);
		if (entry_check(img, &old, x, guest + i * t->cluster_len, e))
			return -1;
		n.kind = fate_of(img, &old, how);
		/* Only a format without zeroes keeps what shows something. */
		if (n.kind == old.kind && !t->has_zero && img->has_backing &&
		    how != UNMAP_TRIM)
			break;
		if (n.kind == old.kind)
			continue;
		/* A failure of either changes nothing. */
		if (entries_change(img, x, e) || retire(img, &old, punch, e))
			return -1;
		twolevel_put(t, x->at + i * 8,
		    n.kind == EXT_HOLE ? 0 : t->encode(img, &n));
	}
	*cl_n = i;
	return 0;
}

/* No table.  True where one is needed to say it; else *done is so already. */
static bool unmap_hole(struct image *img, uint64_t guest, uint64_t len,
    enum unmap_how how, uint64_t *done)
{
	const struct twolevel *t = twolevel_of(img);
	uint64_t span = twolevel_span(t);
	struct twolevel_entry hole = {.kind = EXT_HOLE};

	if (fate_of(img, &hole, how) != EXT_HOLE)
		return true;
	*done = !img->has_backing || how == UNMAP_TRIM
		    ? min_u64(len, span - guest % span)
		    : 0;
	return false;
}

int twolevel_unmap(struct image *img, uint64_t guest, uint64_t len,
    enum unmap_how how, uint64_t *done, struct err *e)
{
	struct twolevel *t = twolevel_of(img);
	uint64_t cl_n = guest + len == img_size(img)
			    ? div_up(len, t->cluster_len)
			    : len / t->cluster_len;
	uint64_t host;
	struct entries x;
	int rc;

	*done = 0;
	if (!is_aligned(guest, t->cluster_len) || !cl_n)
		return 0;
	if (twolevel_table_host(img, guest / twolevel_span(t), &host, e))
		return -1;
	if (!host && !unmap_hole(img, guest, len, how, done))
		return 0;
	if (touch(img, e) || own_table(img, guest, &host, e) ||
	    entries_get(img, guest, host, &x, e))
		return -1;
	cl_n = min_u64(cl_n, x.n);
	rc = unmap_entries(img, &x, guest, how, &cl_n, e);
	tables_put(t->tables, x.s);
	*done = min_u64(len, cl_n * t->cluster_len);
	return rc;
}
