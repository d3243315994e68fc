/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The L2 tables, for check.h: visiting them in the order in which they lie in
 * the file, and counting what their entries refer to.
 */
#include <inttypes.h>

#include "check.h"

/* ---- entries ------------------------------------------------------------- */

void check_l2_get(const struct check *c, const struct check_l2 *t, uint32_t ix,
    struct qcow2_entry *n)
{
	const uint8_t *p = t->data + (size_t)ix * c->q->l2_entry_len;

	n->l2 = be64(p);
	n->sub = c->q->sub_n > 1 ? be64(p + 8) : 0;
	n->host = n->l2 & QCOW2_HOST_MASK;
}

void check_l2_put(const struct check *c, struct check_l2 *t, uint32_t ix,
    const struct qcow2_entry *n)
{
	uint32_t at = ix * c->q->l2_entry_len;

	put_be64(t->data + at, n->l2);
	if (c->q->sub_n > 1)
		put_be64(t->data + at + 8, n->sub);
	if (!t->dirty_end)
		t->dirty = at;
	t->dirty_end = at + c->q->l2_entry_len;
}

bool check_l2_alone(struct check *c, const struct check_l2 *t)
{
	return is_aligned(t->host, c->q->cluster_len) &&
	       !refmap_get(&c->structures, t->host >> c->q->h.cluster_bits);
}

/* ---- visiting ------------------------------------------------------------ */

/* Is the whole table a hole of the file: nothing but zeroes? */
static int is_hole(struct check *c, uint64_t host, bool *hole, struct err *e)
{
	uint64_t len = min_u64(c->q->cluster_len, c->file_len - host);
	struct host_extent x;

	if (host_map(c->img->file, host, len, &x, e))
		return -1;
	*hole = x.hole && x.len >= len;
	return 0;
}

static int visit(struct check *c, struct check_l2 *t, uint8_t *buf,
    check_l2_fn *fn, struct err *e)
{
	bool hole = t->host >= c->file_len;

	if (!hole && is_hole(c, t->host, &hole, e))
		return -1;
	if (hole)
		return 0;
	if (check_read(c, buf, c->q->cluster_len, t->host, e))
		return -1;
	t->data = buf;
	if (fn(c, t, e))
		return -1;
	return t->dirty_end
		   ? host_pwrite(c->img->file, buf + t->dirty,
			 t->dirty_end - t->dirty, t->host + t->dirty, e)
		   : 0;
}

/* The tables of one page of the map. */
static int visit_page(struct check *c, struct refmap *m, uint64_t key,
    uint8_t *buf, check_l2_fn *fn, struct err *e)
{
	for (unsigned i = 0; i < REFMAP_PAGE_N; i++) {
		uint64_t at = key * REFMAP_PAGE_N + i;
		struct check_l2 t = {.host = at * CHECK_L2_UNIT};

		if (!refmap_get(m, at))
			continue;
		t.times = refmap_get(&c->l2_all, at);
		t.active = refmap_get(&c->l2_active, at);
		if (visit(c, &t, buf, fn, e))
			return -1;
	}
	return 0;
}

int check_each_l2(
    struct check *c, struct refmap *m, check_l2_fn *fn, struct err *e)
{
	CLEANUP_FREE uint64_t *keys = refmap_keys(m, e);
	CLEANUP_FREE uint8_t *buf = malloc(c->q->cluster_len);

	if (!keys)
		return -1;
	if (!buf)
		return err_nomem(e);
	image_work_begin(c->img, m->n);
	for (size_t i = 0; i < m->n; i++)
		if (visit_page(c, m, keys[i], buf, fn, e) ||
		    image_work(c->img, 1, e))
			return -1;
	return 0;
}

/* ---- counting ------------------------------------------------------------ */

static int count_packed(struct check *c, struct check_l2 *t,
    const struct qcow2_entry *n, struct err *e)
{
	uint64_t host;
	uint32_t stored;

	if (n->l2 & QCOW2_COPIED)
		check_corrupt(c, t->times,
		    "ERROR: coffset=0x%" PRIx64 ": copied flag must never be "
		    "set for compressed clusters",
		    n->host);
	if (check_data_file(c)) {
		check_corrupt(c, t->times,
		    "ERROR compressed cluster with data file, entry=0x%" PRIx64,
		    n->l2);
		return 0;
	}
	if (n->sub) {
		check_corrupt(c, t->times,
		    "ERROR compressed cluster with non-zero subcluster "
		    "allocation bitmap, entry=0x%" PRIx64,
		    n->l2);
		return 0;
	}
	qcow2_packed_place(c->q, n->l2, &host, &stored);
	c->out->allocated += t->active;
	c->out->packed += t->active;
	/* Sectors are shared with the neighbours: a seek for each. */
	c->out->fragmented += t->active;
	return check_count(c, host, stored, t->times, e);
}

/* Does the entry hold data that a reader would see? */
bool check_shows_data(const struct check *c, const struct qcow2_entry *n)
{
	return c->q->sub_n > 1 ? n->sub & UINT32_MAX : !(n->l2 & QCOW2_ZERO);
}

static int count_plain(struct check *c, struct check_l2 *t,
    const struct qcow2_entry *n, struct err *e)
{
	if (n->sub & n->sub >> 32)
		check_corrupt(c, t->times,
		    "ERROR offset=%" PRIx64 ": Allocated cluster has corrupted "
		    "subcluster allocation bitmap",
		    n->host);
	if (!is_aligned(n->host, c->q->cluster_len))
		check_corrupt(c, t->times,
		    check_shows_data(c, n)
			? "ERROR offset=%" PRIx64 ": Data cluster is not "
			  "properly aligned; L2 entry corrupted."
			: "ERROR offset=%" PRIx64 ": Preallocated cluster is "
			  "not properly aligned; L2 entry corrupted.",
		    n->host);
	c->out->allocated += t->active;
	if (t->next && n->host != t->next)
		c->out->fragmented += t->active;
	t->next = n->host + c->q->cluster_len;
	return check_data_file(c)
		   ? 0
		   : check_count(c, n->host, c->q->cluster_len, t->times, e);
}

/* Byte 0 is one in a data file, though not of a cluster that has only the flag
 * of zeroes (counted as in QEMU). */
static bool has_place(const struct check *c, const struct qcow2_entry *n)
{
	bool zero = c->q->sub_n == 1 && n->l2 & QCOW2_ZERO;

	return n->host || (qcow2_owns_space(c->q, n) && !zero);
}

static int count_entry(struct check *c, struct check_l2 *t,
    const struct qcow2_entry *n, struct err *e)
{
	if (n->l2 & QCOW2_PACKED)
		return count_packed(c, t, n, e);
	if (n->l2 & QCOW2_L2_RESERVED)
		check_corrupt(c, t->times,
		    "ERROR found l2 entry with reserved bits set: %" PRIx64,
		    n->l2);
	if (has_place(c, n))
		return count_plain(c, t, n, e);
	if (n->sub & UINT32_MAX)
		check_corrupt(c, t->times,
		    "ERROR: Unallocated cluster has non-zero subcluster "
		    "allocation map");
	return 0;
}

static int count_table(struct check *c, struct check_l2 *t, struct err *e)
{
	for (uint32_t ix = 0; ix < c->q->l2_n; ix++) {
		struct qcow2_entry n;

		check_l2_get(c, t, ix, &n);
		if ((n.l2 || n.sub) && count_entry(c, t, &n, e))
			return -1;
	}
	return 0;
}

/* Each table is in use as often as L1 entries point to it. */
static int count_tables_of(struct check *c, uint64_t key, struct err *e)
{
	for (unsigned i = 0; i < REFMAP_PAGE_N; i++) {
		uint64_t at = key * REFMAP_PAGE_N + i;
		uint64_t times = refmap_get(&c->l2_all, at);

		if (check_count(
			c, at * CHECK_L2_UNIT, c->q->cluster_len, times, e))
			return -1;
	}
	return 0;
}

int check_l2_tables(struct check *c, struct err *e)
{
	CLEANUP_FREE uint64_t *keys = refmap_keys(&c->l2_all, e);

	if (!keys)
		return -1;
	for (size_t i = 0; i < c->l2_all.n; i++)
		if (count_tables_of(c, keys[i], e))
			return -1;
	return check_each_l2(c, &c->l2_all, count_table, e);
}
