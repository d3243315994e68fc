/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The copied flags: an entry of the active tree has one just when the cluster
 * that it points to has no other owner.
 *
 * A flag and its count lie in different sectors, so when both change, neither
 * can be on disk first.  Tables whose flags change are therefore copied; the
 * header that names the copies names the new counts too (counts_move.c).
 *
 * The gate is closed.
 */
#include <string.h>

#include "../core/request.h"
#include "qcow2.h"

static bool has_cluster(const struct qcow2_entry *n)
{
	return !(n->l2 & QCOW2_PACKED) && n->host;
}

/* What the count of its cluster says.  With `shared` everything has a second
 * owner. */
static int wanted(struct image *img, uint64_t host, bool shared, uint64_t *flag,
    struct err *e)
{
	uint64_t count = 2;

	if (!shared && qcow2_refcount_get(img,
			   host >> qcow2_of(img)->h.cluster_bits, &count, e))
		return -1;
	*flag = count == 1 ? QCOW2_COPIED : 0;
	return 0;
}

/*
 * Give the entries of a slice their flags; with `look` nothing changes.  1
 * where some are or were different.
 */
static int fit_slice(struct image *img, struct table *slice, bool shared,
    bool look, struct err *e)
{
	const struct qcow2 *q = qcow2_of(img);
	uint32_t per_slice = q->slice_len / q->l2_entry_len;
	int differs = 0;

	for (uint32_t ix = 0; ix < per_slice; ix++) {
		struct qcow2_entry n;
		uint64_t flag;

		qcow2_entry_get(q, slice, ix, &n);
		if (!has_cluster(&n))
			continue;
		if (wanted(img, n.host, shared, &flag, e))
			return -1;
		if ((n.l2 & QCOW2_COPIED) == flag)
			continue;
		differs = 1;
		if (look)
			break;
		n.l2 = (n.l2 & ~QCOW2_COPIED) | flag;
		qcow2_entry_put(q, slice, ix, &n);
	}
	return differs;
}

/* 1 when a flag in the table at `host` has to change. */
static int needs_fit(
    struct image *img, uint64_t host, bool shared, struct err *e)
{
	struct qcow2 *q = qcow2_of(img);
	int rc = 0;

	for (uint64_t at = 0; at < q->cluster_len && !rc; at += q->slice_len) {
		struct table *t = tables_get(
		    q->tables, host + at, q->slice_len, TABLE_MAP, e);

		if (!t)
			return -1;
		rc = fit_slice(img, t, shared, true, e);
		tables_put(q->tables, t);
	}
	return rc;
}

/* The table at `from`, with the right flags, at `to`. */
static int copy_fit(
    struct image *img, uint64_t from, uint64_t to, bool shared, struct err *e)
{
	struct qcow2 *q = qcow2_of(img);
	int rc = 0;

	for (uint64_t at = 0; at < q->cluster_len && rc >= 0;
	     at += q->slice_len) {
		struct table *old = tables_get(
		    q->tables, from + at, q->slice_len, TABLE_MAP, e);
		struct table *new =
		    tables_new(q->tables, to + at, q->slice_len, TABLE_MAP, e);

		rc = -1;
		if (old && new) {
			memcpy(new->data, old->data, q->slice_len);
			rc = fit_slice(img, new, shared, false, e);
		}
		tables_put(q->tables, old);
		tables_put(q->tables, new);
	}
	return rc < 0 ? -1 : 0;
}

/* The copy takes over `owners` of the table. */
static int replace_table(struct image *img, uint64_t from, uint64_t to,
    unsigned owners, struct err *e)
{
	struct qcow2 *q = qcow2_of(img);
	uint64_t from_cl = from >> q->h.cluster_bits, count;

	if (copy_fit(img, from, to, owners > 1, e))
		return -1;
	for (unsigned i = 0; i < owners; i++)
		if (qcow2_refcount_add(img, from_cl, 1, -1, e))
			return -1;
	for (unsigned i = 1; i < owners; i++)
		if (qcow2_refcount_add(img, to >> q->h.cluster_bits, 1, 1, e))
			return -1;
	if (qcow2_refcount_get(img, from_cl, &count, e))
		return -1;
	clusterset_remove(&q->meta, from_cl, 1);
	if (!count)
		tables_forget(q->tables, from, q->cluster_len);
	return 0;
}

static int fit_l1_entry(struct image *img, uint8_t *entry, unsigned owners,
    struct qcow2_spare *spare, struct err *e)
{
	struct qcow2 *q = qcow2_of(img);
	uint64_t host = be64(entry) & QCOW2_HOST_MASK, flag;
	int rc;

	if (!host)
		return 0;
	rc = needs_fit(img, host, owners > 1, e);
	if (rc > 0) {
		rc = replace_table(img, host, spare->host, owners, e);
		host = spare->host;
		spare->host += q->cluster_len;
		spare->n--;
	}
	if (rc || wanted(img, host, owners > 1, &flag, e))
		return -1;
	put_be64(entry, host | flag);
	return 0;
}

int qcow2_tree_fit(struct image *img, uint8_t *l1, uint32_t l1_n,
    unsigned owners, struct qcow2_spare *spare, struct err *e)
{
	for (uint32_t i = 0; i < l1_n; i++) {
		int rc;

		rwlock_excl(&img->meta);
		rc = fit_l1_entry(img, l1 + i * 8ull, owners, spare, e);
		rwlock_excl_end(&img->meta);
		if (rc || (image_commit_due(img) && image_commit(img, e)))
			return -1;
	}
	return 0;
}

/* ---- trees that become active -------------------------------------------- */

static int clear_table(struct image *img, uint64_t host, struct err *e)
{
	struct qcow2 *q = qcow2_of(img);
	int rc = 0;

	for (uint64_t at = 0; at < q->cluster_len && rc >= 0;
	     at += q->slice_len) {
		struct table *t = tables_get(
		    q->tables, host + at, q->slice_len, TABLE_MAP, e);

		if (!t)
			return -1;
		rc = fit_slice(img, t, true, true, e);
		if (rc > 0 && !tables_change(q->tables, t, e))
			rc = fit_slice(img, t, true, false, e);
		else if (rc > 0)
			rc = -1;
		tables_put(q->tables, t);
	}
	return rc < 0 ? -1 : 0;
}

int qcow2_tree_clear_copied(
    struct image *img, uint8_t *l1, uint32_t l1_n, struct err *e)
{
	const struct qcow2 *q = qcow2_of(img);

	for (uint32_t i = 0; i < l1_n; i++) {
		uint64_t host = be64(l1 + i * 8ull) & QCOW2_HOST_MASK;
		int rc = 0;

		put_be64(l1 + i * 8ull, host);
		if (!host)
			continue;
		if (!qcow2_cluster_ok(q, host, q->cluster_len))
			return qcow2_bad_entry(img,
			    &(struct qcow2_bad){"L1 table", 0, i, host},
			    "points to no cluster of the file", e);
		rwlock_excl(&img->meta);
		rc = clear_table(img, host, e);
		rwlock_excl_end(&img->meta);
		if (rc || (image_commit_due(img) && image_commit(img, e)))
			return -1;
	}
	return 0;
}
