/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Doing without the zero flag, which version 2 does not have: see amend.h.
 *
 * An entry with the flag becomes one of a cluster that holds zeroes, or a hole
 * where nothing shows through.  Tables are changed where they are: an entry
 * reads as zeroes before and after, for the disk and for every snapshot that
 * shares the table.
 *
 * The cluster behind a flag is zeroed in place if the table is all that refers
 * to it: as many owners as the table has.  Otherwise another table may have
 * its bytes as data.
 *
 * The gate is closed.
 */
#include <errno.h>
#include <stdlib.h>

#include "../core/crypt.h"
#include "../core/request.h"
#include "amend.h"

#define RETIRED_MAX (1u << 20) /* references that wait for a commit */

struct zeroes {
	struct clusterset seen; /* L2 tables that are done */
	uint64_t owners;	/* of the one that is looked at */
};

/* ---- one entry ----------------------------------------------------------- */

/* What the cluster has to hold to read as zeroes at `guest`. */
static int put_zeroes(
    struct image *img, uint64_t host, uint64_t guest, struct err *e)
{
	const struct iovec zeroes = {NULL, qcow2_of(img)->cluster_len};

	if (img->cipher)
		return crypt_pwritev(
		    img, img->file, &zeroes, 1, host, guest, e);
	return host_zero(img->file, host, zeroes.iov_len, 0, e);
}

/* Clusters of zeroes with as many owners as the table. */
static int new_zeroes(struct image *img, uint64_t owners, uint64_t guest,
    uint64_t *host, struct err *e)
{
	struct qcow2 *q = qcow2_of(img);
	uint64_t got, cl;
	int added = 1;

	if (qcow2_alloc(img, 1, 1, host, &got, e))
		return -1;
	cl = *host >> q->h.cluster_bits;
	while (added < (int)owners && !qcow2_refcount_add(img, cl, 1, 1, e))
		added++;
	if (added == (int)owners && !put_zeroes(img, *host, guest, e))
		return 0;
	while (added--)
		if (qcow2_refcount_add(img, cl, 1, -1, e))
			return image_fail(img, e);
	return -1;
}

/* Where the zeroes of an entry will be; 0: nowhere, it becomes a hole. */
static int place_zeroes(struct image *img, const struct qcow2_entry *n,
    uint64_t owners, uint64_t guest, uint64_t *host, struct err *e)
{
	struct qcow2 *q = qcow2_of(img);
	uint64_t cl = n->host >> q->h.cluster_bits, count = 0;

	if (n->host && qcow2_refcount_get(img, cl, &count, e))
		return -1;
	if (n->host && count < owners)
		return err_damaged(e,
		    "%s: cluster at %#llx has reference count %llu: an L2 "
		    "table that refers to it has %llu",
		    img->name, (unsigned long long)n->host,
		    (unsigned long long)count, (unsigned long long)owners);
	*host = n->host;
	if (n->host && count == owners && !clusterset_any(&q->meta, cl, 1))
		return put_zeroes(img, *host, guest, e);
	*host = 0;
	if (n->host && quarantine_n(&img->quarantine) + owners > RETIRED_MAX)
		return err_set(e, ERR_SYSTEM, EFBIG,
		    "%s: more than %u references to zero clusters of one L2 "
		    "table: delete snapshots first",
		    img->name, RETIRED_MAX);
	return q->h.backing ? new_zeroes(img, owners, guest, host, e) : 0;
}

static int change_entry(struct image *img, struct table *slice, uint32_t ix,
    uint64_t owners, uint64_t guest, struct err *e)
{
	struct qcow2 *q = qcow2_of(img);
	struct qcow2_entry old, n = {0};
	uint64_t host;

	qcow2_entry_get(q, slice, ix, &old);
	if (tables_change(q->tables, slice, e) ||
	    place_zeroes(img, &old, owners, guest, &host, e))
		return -1;
	if (host)
		n.l2 = host | (owners == 1 ? QCOW2_COPIED : 0);
	qcow2_entry_put(q, slice, ix, &n);
	if (!old.host || old.host == host)
		return 0;
	/* Each owner of the table gives up the cluster. */
	while (owners--)
		if (qcow2_retire_entry(img, &old, false, e))
			return image_fail(img, e);
	return 0;
}

/* ---- all of them --------------------------------------------------------- */

static int change_slice(struct image *img, struct table *slice, uint64_t guest,
    void *arg, struct err *e)
{
	struct qcow2 *q = qcow2_of(img);
	const struct zeroes *z = arg;

	for (uint32_t ix = 0; ix < q->slice_len / q->l2_entry_len; ix++) {
		uint64_t at = guest + ((uint64_t)ix << q->h.cluster_bits);
		struct qcow2_entry n;

		qcow2_entry_get(q, slice, ix, &n);
		if ((n.l2 & QCOW2_PACKED) || !(n.l2 & QCOW2_ZERO))
			continue;
		if (qcow2_entry_check(img, &n, at, e) ||
		    change_entry(img, slice, ix, z->owners, at, e))
			return -1;
	}
	return 0;
}

static int change_l2(
    struct image *img, uint64_t host, uint64_t guest, void *arg, struct err *e)
{
	struct qcow2 *q = qcow2_of(img);
	struct zeroes *z = arg;
	uint64_t cl = host >> q->h.cluster_bits;

	if (image_work(img, 0, e))
		return -1;
	if (clusterset_any(&z->seen, cl, 1))
		return 0;
	if (qcow2_refcount_get(img, cl, &z->owners, e))
		return -1;
	if (!z->owners)
		return err_set(e, ERR_DAMAGED, EIO,
		    "%s: L2 table at %#llx has reference count 0", img->name,
		    (unsigned long long)host);
	if (clusterset_add(&z->seen, cl, 1, e))
		return -1;
	return qcow2_l2_each(img, host, guest, change_slice, z, e);
}

/* The active tree, then those of the snapshots. */
static int each_tree(
    struct image *img, qcow2_l2_fn *fn, void *arg, struct err *e)
{
	const struct qcow2 *q = qcow2_of(img);
	struct qcow2_snapshot_table t;
	uint8_t *l1 = qcow2_l1_copy(q, e);
	int rc = l1 ? 0 : -1;

	if (rc || qcow2_snapshots_read(img, &t, e)) {
		free(l1);
		return -1;
	}
	image_work_begin(img, q->h.l1_n * (t.n + 1));
	rc = qcow2_tree_each(img, l1, q->h.l1_n, fn, arg, e);
	for (size_t i = 0; !rc && i < t.n; i++) {
		const struct qcow2_snapshot *s = &t.item[i];

		free(l1);
		l1 = qcow2_snapshot_l1(img, s, e);
		rc = l1 ? qcow2_tree_each(img, l1, s->l1_n, fn, arg, e) : -1;
	}
	free(l1);
	qcow2_snapshots_clear(&t);
	return rc;
}

int qcow2_amend_zeroes(struct image *img, struct err *e)
{
	struct zeroes z = {0};
	int rc;

	clusterset_init(&z.seen);
	rc = each_tree(img, change_l2, &z, e);
	clusterset_destroy(&z.seen);
	return rc;
}

/* ---- compressed clusters ------------------------------------------------- */

static int find_packed(struct image *img, struct table *slice, uint64_t guest,
    void *arg, struct err *e)
{
	const struct qcow2 *q = qcow2_of(img);
	bool *found = arg;

	(void)guest, (void)e;
	for (uint32_t ix = 0; ix < q->slice_len / q->l2_entry_len; ix++) {
		struct qcow2_entry n;

		qcow2_entry_get(q, slice, ix, &n);
		*found |= (n.l2 & QCOW2_PACKED) != 0;
	}
	return 0;
}

static int find_packed_l2(
    struct image *img, uint64_t host, uint64_t guest, void *arg, struct err *e)
{
	return qcow2_l2_each(img, host, guest, find_packed, arg, e);
}

int qcow2_amend_any_packed(struct image *img, bool *found, struct err *e)
{
	*found = false;
	return each_tree(img, find_packed_l2, found, e);
}
