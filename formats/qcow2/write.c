/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * qcow2's part in an allocating write: reserve, publish, abandon, release.
 *
 * reserve takes every table and cluster that publish will need, so that where
 * things go depends on the order of the reserves alone.  A new L2 table enters
 * the L1 table at once: it maps what the old one mapped.
 *
 * With an external data file a cluster's place is its guest offset, and there
 * is nothing to count.
 */
#include <errno.h>
#include <string.h>

#include "qcow2.h"

static bool has_data_file(const struct qcow2 *q)
{
	return q->h.incompatible & QCOW2_I_DATA_FILE;
}

/* ---- L2 tables ------------------------------------------------------------
 */

int qcow2_l1_set(
    struct image *img, uint64_t l1_ix, uint64_t entry, struct err *e)
{
	struct qcow2 *q = qcow2_of(img);
	uint32_t per_slice = q->slice_len / 8;
	struct table *t = q->l1[l1_ix / per_slice];

	if (tables_change(q->tables, t, e))
		return -1;
	put_be64(t->data + l1_ix % per_slice * 8, entry);
	return 0;
}

/* A new table at `host`: zeroes, or a copy of the one at `from`. */
static int fill_l2(
    struct image *img, uint64_t host, uint64_t from, struct err *e)
{
	struct qcow2 *q = qcow2_of(img);

	for (uint64_t at = 0; at < q->cluster_len; at += q->slice_len) {
		struct table *t = tables_new(
		    q->tables, host + at, q->slice_len, TABLE_MAP, e);
		struct table *old = NULL;

		if (t && from) {
			old = tables_get(
			    q->tables, from + at, q->slice_len, TABLE_MAP, e);
			if (old)
				memcpy(t->data, old->data, q->slice_len);
		}
		tables_put(q->tables, old);
		tables_put(q->tables, t);
		if (!t || (from && !old))
			return -1;
	}
	return 0;
}

/* The clusters that [host, host + len) touches lose one reference each. */
static int lower(struct image *img, uint64_t host, uint64_t len, struct err *e)
{
	struct qcow2 *q = qcow2_of(img);
	uint64_t cl = host >> q->h.cluster_bits;
	uint64_t last = (host + len - 1) >> q->h.cluster_bits;

	return qcow2_refcount_add(img, cl, last - cl + 1, -1, e);
}

int qcow2_retire_l2(struct image *img, uint64_t host, struct err *e)
{
	struct qcow2 *q = qcow2_of(img);

	tables_forget(q->tables, host, q->cluster_len);
	clusterset_remove(&q->meta, host >> q->h.cluster_bits, 1);
	return image_retire(img, host, q->cluster_len, true, false, e);
}

int qcow2_own_l2(struct image *img, uint64_t guest, struct err *e)
{
	struct qcow2 *q = qcow2_of(img);
	uint64_t l1_ix = guest / qcow2_l2_span(q), host, got;
	uint64_t entry = qcow2_l1_get(q, l1_ix);
	uint64_t old = entry & QCOW2_HOST_MASK;

	if (old && (entry & QCOW2_COPIED))
		return 0;
	if (qcow2_alloc(img, 1, 1, &host, &got, e))
		return -1;
	if (qcow2_take_room(img, host, q->cluster_len, e)) {
		lower(img, host, q->cluster_len, e);
		return -1;
	}
	/* From here on a failure leaves a cluster without owner. */
	if (clusterset_add(&q->meta, host >> q->h.cluster_bits, 1, e) ||
	    fill_l2(img, host, old, e) ||
	    qcow2_l1_set(img, l1_ix, host | QCOW2_COPIED, e) ||
	    (old && qcow2_retire_l2(img, old, e)))
		return image_fail(img, e);
	return 0;
}

void qcow2_entry_put(const struct qcow2 *q, struct table *slice, uint32_t ix,
    const struct qcow2_entry *n)
{
	uint8_t *p = slice->data + (size_t)ix * q->l2_entry_len;

	put_be64(p, n->l2);
	if (q->sub_n > 1)
		put_be64(p + 8, n->sub);
}

/* I4: a damaged entry may have live metadata for its data. */
static int check_data(
    struct image *img, uint64_t host, uint64_t len, struct err *e)
{
	struct qcow2 *q = qcow2_of(img);
	uint64_t cl = host >> q->h.cluster_bits;
	uint64_t last = (host + len - 1) >> q->h.cluster_bits;

	if (!clusterset_any(&q->meta, cl, last - cl + 1))
		return 0;
	err_set(e, ERR_DAMAGED, EIO,
	    "%s: a cluster at %#llx is both data and live metadata", img->name,
	    (unsigned long long)host);
	return image_fail(img, e);
}

int qcow2_retire_entry(
    struct image *img, const struct qcow2_entry *n, bool punch, struct err *e)
{
	struct qcow2 *q = qcow2_of(img);
	uint64_t host = n->host;
	uint32_t len = q->cluster_len;

	if (n->l2 & QCOW2_PACKED) {
		qcow2_packed_place(q, n->l2, &host, &len);
		punch = false;
	} else if (!host || has_data_file(q)) {
		return 0;
	}
	/* Giving back live metadata would hand it out again. */
	if (check_data(img, host, len, e))
		return -1;
	/* Another owner may need the bytes. */
	if (!(n->l2 & QCOW2_COPIED))
		punch = false;
	return image_retire(img, host, len, !(n->l2 & QCOW2_PACKED), punch, e);
}

/* ---- reserve ---------------------------------------------------------------
 */

/* How a cluster gets its space. */
enum how {
	TAKE_NEW, /* a free cluster; the old one, if any, is retired */
	USE_OWN,  /* the cluster that the entry owns already          */
};

static enum how entry_how(const struct qcow2 *q, const struct qcow2_entry *n)
{
	if (has_data_file(q))
		return USE_OWN;
	return qcow2_owns_space(q, n) && (n->l2 & QCOW2_COPIED) ? USE_OWN
								: TAKE_NEW;
}

/* Old bytes that a new cluster must take over: its subclusters cannot point to
 * two places. */
static bool has_old(const struct qcow2 *q, const struct qcow2_entry *n)
{
	return q->sub_n > 1 && ((n->l2 & QCOW2_PACKED) || n->host);
}

/* All of these, and what is between them and [*from, *end) of the cluster. */
static void widen_to_old(const struct qcow2 *q, const struct qcow2_entry *n,
    uint64_t cl_guest, uint64_t *from, uint64_t *end)
{
	for (unsigned i = 0; i < q->sub_n; i++) {
		enum qcow2_sub kind = qcow2_sub_kind(q, n, i);
		uint64_t at = cl_guest + (uint64_t)i * q->sub_len;

		if (kind == QCOW2_SUB_HOLE || kind == QCOW2_SUB_ZERO)
			continue;
		*from = min_u64(*from, at);
		*end = max_u64(*end, at + q->sub_len);
	}
}

/* Is there nothing yet that a write could go to in place? */
static bool wants_space(
    const struct qcow2 *q, const struct qcow2_entry *n, unsigned sub_ix)
{
	return qcow2_sub_kind(q, n, sub_ix) != QCOW2_SUB_DATA ||
	       entry_how(q, n) == TAKE_NEW;
}

/*
 * The run of clusters from entry ix on, at most max_n, that get their space in
 * the same way; with USE_OWN also contiguous.
 */
static uint32_t same_run(const struct qcow2 *q, const struct table *slice,
    uint32_t ix, uint32_t max_n, uint64_t guest)
{
	uint32_t per_slice = q->slice_len / q->l2_entry_len, n;
	struct qcow2_entry first, x;
	enum how how;

	qcow2_entry_get(q, slice, ix, &first);
	how = entry_how(q, &first);
	if (q->sub_n > 1 && (how == USE_OWN || has_old(q, &first)))
		return 1;
	for (n = 1; n < max_n && ix + n < per_slice; n++) {
		qcow2_entry_get(q, slice, ix + n, &x);
		if (entry_how(q, &x) != how || !wants_space(q, &x, 0) ||
		    has_old(q, &x) ||
		    qcow2_entry_fault(
			q, &x, guest + ((uint64_t)n << q->h.cluster_bits)))
			break;
		if (how == USE_OWN && !has_data_file(q) &&
		    x.host != first.host + ((uint64_t)n << q->h.cluster_bits))
			break;
	}
	return n;
}

/* In one cluster of our own: the subclusters from `guest` on without data. */
static void trim_to_missing(const struct qcow2 *q, const struct qcow2_entry *n,
    uint64_t guest, uint64_t *end)
{
	unsigned i = (guest & (q->cluster_len - 1)) / q->sub_len;
	uint64_t at = round_down(guest, q->sub_len);

	while (at < *end && i < q->sub_n &&
	       qcow2_sub_kind(q, n, i) != QCOW2_SUB_DATA) {
		at += q->sub_len;
		i++;
	}
	*end = min_u64(*end, at);
}

static int reserve_run(struct image *img, const struct table *slice,
    uint32_t ix, uint64_t guest, uint64_t len, struct reservation *r,
    struct err *e)
{
	struct qcow2 *q = qcow2_of(img);
	uint64_t cl_guest = round_down(guest, q->cluster_len), host, got;
	uint64_t cl_n = div_up(guest + len - cl_guest, q->cluster_len);
	uint64_t end = round_up(guest + len, q->sub_len);
	struct qcow2_entry n;

	qcow2_entry_get(q, slice, ix, &n);
	cl_n = same_run(q, slice, ix, min_u64(cl_n, UINT32_MAX), cl_guest);
	r->owned = entry_how(q, &n) == USE_OWN;
	r->guest = round_down(guest, q->sub_len);
	r->file = q->data;
	host = has_data_file(q) ? cl_guest : n.host;
	if (!r->owned) {
		if (qcow2_alloc(img, 1, cl_n, &host, &got, e))
			return -1;
		cl_n = got;
	} else if (!has_data_file(q)) {
		if (check_data(img, host, cl_n << q->h.cluster_bits, e))
			return -1;
	}
	if (r->owned && q->sub_n > 1)
		trim_to_missing(q, &n, guest, &end);
	end = min_u64(end, cl_guest + (cl_n << q->h.cluster_bits));
	if (has_old(q, &n) && !r->owned)
		widen_to_old(q, &n, cl_guest, &r->guest, &end);
	r->len = end - r->guest;
	r->host = host + (r->guest - cl_guest);
	r->zeroed = r->host >= host_size(q->data);
	return 0;
}

int qcow2_reserve(struct image *img, uint64_t guest, uint64_t len,
    uint64_t stored, struct reservation *r, struct err *e)
{
	struct qcow2 *q = qcow2_of(img);
	struct qcow2_entry n;
	struct table *slice;
	uint32_t ix;
	int rc;

	if (qcow2_own_l2(img, guest, e))
		return -1;
	if (stored)
		return qcow2_reserve_packed(img, guest, stored, r, e);
	slice = qcow2_l2_slice(img, guest, &ix, e);
	if (!slice)
		return -1;
	qcow2_entry_get(q, slice, ix, &n);
	rc = qcow2_entry_check(img, &n, guest, e);
	if (!rc)
		rc = reserve_run(img, slice, ix, guest, len, r, e);
	tables_put(q->tables, slice);
	return rc;
}

/* ---- publish, abandon -------------------------------------------------------
 */

static uint64_t packed_entry(const struct qcow2 *q, const struct reservation *r)
{
	unsigned host_bits = 62 - (q->h.cluster_bits - 8);
	uint64_t more =
	    ((r->host + r->stored - 1) / SECTOR_LEN) - r->host / SECTOR_LEN;

	return QCOW2_PACKED | more << host_bits | r->host;
}

/* Bits of the subclusters that [from, to) of the cluster at `guest` covers. */
static uint32_t sub_bits(
    const struct qcow2 *q, uint64_t guest, uint64_t from, uint64_t to)
{
	uint64_t first = from > guest ? (from - guest) / q->sub_len : 0;
	uint64_t end = min_u64(to - guest, q->cluster_len) / q->sub_len;

	return (uint32_t)(((1ull << end) - 1) & ~((1ull << first) - 1));
}

/* The entry of the cluster at `guest` when the reservation is in force. */
static void new_entry(const struct qcow2 *q, const struct reservation *r,
    uint64_t guest, const struct qcow2_entry *old, struct qcow2_entry *n)
{
	uint64_t covered;

	*n = *old;
	if (r->stored) {
		n->l2 = packed_entry(q, r);
		n->sub = 0;
		return;
	}
	n->host = r->host - r->guest + guest;
	n->l2 = n->host | QCOW2_COPIED;
	/* Zeroes of the host are none of the guest's. */
	if (r->space_only && q->sub_n == 1 && q->h.crypt_method)
		n->l2 |= QCOW2_ZERO;
	if (q->sub_n == 1 || r->space_only)
		return;
	covered = sub_bits(q, guest, r->guest, r->guest + r->len);
	n->sub |= covered;
	n->sub &= ~(covered << 32);
}

static int publish_cluster(struct image *img, const struct reservation *r,
    uint64_t guest, struct table *slice, uint32_t ix, struct err *e)
{
	struct qcow2 *q = qcow2_of(img);
	struct qcow2_entry old, n;

	qcow2_entry_get(q, slice, ix, &old);
	new_entry(q, r, guest, &old, &n);
	if (!r->owned && qcow2_retire_entry(img, &old, false, e))
		return -1;
	qcow2_entry_put(q, slice, ix, &n);
	return 0;
}

int qcow2_publish(struct image *img, const struct reservation *r, struct err *e)
{
	struct qcow2 *q = qcow2_of(img);
	uint64_t guest = round_down(r->guest, q->cluster_len);
	uint32_t ix;
	struct table *slice = qcow2_l2_slice(img, guest, &ix, e);
	int rc;

	if (!slice)
		return -1;
	rc = tables_change(q->tables, slice, e);
	/* A reservation stays inside one slice. */
	for (; !rc && guest < r->guest + r->len; guest += q->cluster_len)
		rc = publish_cluster(img, r, guest, slice, ix++, e);
	tables_put(q->tables, slice);
	return rc;
}

void qcow2_abandon(struct image *img, const struct reservation *r)
{
	struct err e = ERR_INIT;

	if (!r->owned &&
	    lower(img, r->host, r->stored ? r->stored : r->len, &e))
		image_fail(img, &e);
}

int qcow2_release(struct image *img, uint64_t host, uint64_t len, struct err *e)
{
	return lower(img, host, len, e);
}

int qcow2_commit(struct image *img, struct err *e)
{
	struct qcow2 *q = qcow2_of(img);
	struct err ignored = ERR_INIT;
	uint64_t end;

	rwlock_shared(&img->meta);
	end = q->end;
	rwlock_shared_end(&img->meta);
	/* New clusters that were not written to their end get one; where no
	 * table changed there are none.  If that fails, reads past the end of
	 * the file give the same zeroes. */
	if (tables_dirty_len(q->tables))
		host_grow(img->file, end, &ignored);
	return tables_commit(q->tables, q->data, image_commit_mark, img, e);
}
