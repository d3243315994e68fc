/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The tree below an L1 table: its L2 tables and their clusters, when all of
 * them gain or lose an owner.  Snapshots share trees.
 *
 * The gate is closed: no request sees the mapping change.  Tables are taken
 * one by one under meta exclusive, with commits between, so memory is bounded.
 */
#include <errno.h>
#include <stdlib.h>

#include "../core/request.h"
#include "qcow2.h"

int qcow2_l2_each(struct image *img, uint64_t host, uint64_t guest,
    qcow2_slice_fn *fn, void *arg, struct err *e)
{
	struct qcow2 *q = qcow2_of(img);
	uint64_t slice_span = (uint64_t)(q->slice_len / q->l2_entry_len)
			      << q->h.cluster_bits;

	for (uint64_t at = 0; at < q->cluster_len; at += q->slice_len) {
		struct table *slice = tables_get(
		    q->tables, host + at, q->slice_len, TABLE_MAP, e);
		int rc;

		if (!slice)
			return -1;
		rc = fn(img, slice, guest, arg, e);
		tables_put(q->tables, slice);
		if (rc)
			return -1;
		guest += slice_span;
	}
	return 0;
}

int qcow2_tree_each(struct image *img, const uint8_t *l1, uint32_t l1_n,
    qcow2_l2_fn *fn, void *arg, struct err *e)
{
	const struct qcow2 *q = qcow2_of(img);
	struct err ignored = ERR_INIT;

	for (uint32_t i = 0; i < l1_n; i++) {
		uint64_t host = be64(l1 + i * 8ull) & QCOW2_HOST_MASK;
		int rc;

		/* Who cannot stop here goes on. */
		image_work(img, 1, &ignored);
		if (!host)
			continue;
		if (!qcow2_cluster_ok(q, host, q->cluster_len))
			return qcow2_bad_entry(img,
			    &(struct qcow2_bad){"L1 table", q->h.l1_host, i,
				be64(l1 + i * 8ull)},
			    "points to no cluster of the file", e);
		rwlock_excl(&img->meta);
		rc = fn(img, host, i * qcow2_l2_span(q), arg, e);
		rwlock_excl_end(&img->meta);
		if (rc || (image_commit_due(img) && image_commit(img, e)))
			return -1;
	}
	return 0;
}

/* ---- owners -------------------------------------------------------------- */

/* Contiguous clusters on their way to qcow2_refcount_add(). */
struct run {
	uint64_t cl, n;
};

static int flush_run(struct image *img, struct run *r, int delta, struct err *e)
{
	uint64_t n = r->n;

	r->n = 0;
	return n ? qcow2_refcount_add(img, r->cl, n, delta, e) : 0;
}

static int add_to_run(
    struct image *img, struct run *r, uint64_t cl, int delta, struct err *e)
{
	if (r->n && r->cl + r->n == cl) {
		r->n++;
		return 0;
	}
	if (flush_run(img, r, delta, e))
		return -1;
	*r = (struct run){cl, 1};
	return 0;
}

/* The clusters of one entry, from *first on. */
static uint64_t entry_clusters(
    const struct qcow2 *q, const struct qcow2_entry *n, uint64_t *first)
{
	uint64_t host;
	uint32_t stored;

	if (!(n->l2 & QCOW2_PACKED)) {
		*first = n->host >> q->h.cluster_bits;
		/* In a data file nothing is counted. */
		return n->host && !(q->h.incompatible & QCOW2_I_DATA_FILE);
	}
	qcow2_packed_place(q, n->l2, &host, &stored);
	*first = host >> q->h.cluster_bits;
	return ((host + stored - 1) >> q->h.cluster_bits) - *first + 1;
}

static int count_slice(struct image *img, struct table *slice, uint64_t guest,
    void *arg, struct err *e)
{
	const struct qcow2 *q = qcow2_of(img);
	int delta = *(const int *)arg;
	uint32_t per_slice = q->slice_len / q->l2_entry_len;
	struct run r = {0};

	for (uint32_t ix = 0; ix < per_slice; ix++) {
		struct qcow2_entry n;
		uint64_t first, cl_n;

		qcow2_entry_get(q, slice, ix, &n);
		if (qcow2_entry_check(img, &n,
			guest + ((uint64_t)ix << q->h.cluster_bits), e))
			return -1;
		cl_n = entry_clusters(q, &n, &first);
		for (uint64_t i = 0; i < cl_n; i++)
			if (add_to_run(img, &r, first + i, delta, e))
				return -1;
	}
	return flush_run(img, &r, delta, e);
}

/* A table that nobody refers to any more must leave the cache. */
static int drop_if_free(struct image *img, uint64_t host, struct err *e)
{
	struct qcow2 *q = qcow2_of(img);
	uint64_t count;

	if (qcow2_refcount_get(img, host >> q->h.cluster_bits, &count, e))
		return -1;
	if (!count)
		tables_forget(q->tables, host, q->cluster_len);
	return 0;
}

static int count_l2(
    struct image *img, uint64_t host, uint64_t guest, void *arg, struct err *e)
{
	struct qcow2 *q = qcow2_of(img);
	int delta = *(const int *)arg;

	if (qcow2_l2_each(img, host, guest, count_slice, arg, e) ||
	    qcow2_refcount_add(img, host >> q->h.cluster_bits, 1, delta, e))
		return -1;
	return delta < 0 ? drop_if_free(img, host, e) : 0;
}

int qcow2_tree_count(struct image *img, const uint8_t *l1, uint32_t l1_n,
    int delta, struct err *e)
{
	image_work_begin(img, l1_n);
	return qcow2_tree_each(img, l1, l1_n, count_l2, &delta, e);
}

uint8_t *qcow2_l1_copy(const struct qcow2 *q, struct err *e)
{
	uint8_t *l1 = malloc(8ull * q->h.l1_n + 1);

	if (!l1) {
		err_nomem(e);
		return NULL;
	}
	for (uint32_t i = 0; i < q->h.l1_n; i++)
		put_be64(l1 + i * 8ull, qcow2_l1_get(q, i));
	return l1;
}
