/* SPDX-License-Identifier: BSD-3-Clause */
/* Which clusters hold live metadata, found when an image is opened for writing
 * (I4).  No two structures may share one. */
#include "qcow2.h"

static int own(struct image *img, const char *what, uint64_t host, uint64_t len,
    struct err *e)
{
	struct qcow2 *q = qcow2_of(img);
	uint64_t cl = host >> q->h.cluster_bits;
	uint64_t n = div_up(len, q->cluster_len);

	if (!len)
		return 0;
	if (!qcow2_cluster_ok(q, host, len))
		return err_damaged(e,
		    "%s: %s of %llu bytes at %#llx: not in clusters of the "
		    "file, which has %llu bytes in clusters of %u",
		    img->name, what, (unsigned long long)len,
		    (unsigned long long)host,
		    (unsigned long long)host_size(img->file), q->cluster_len);
	if (clusterset_any(&q->meta, cl, n))
		return err_damaged(e,
		    "%s: %s at %#llx: overlaps other metadata", img->name, what,
		    (unsigned long long)host);
	return clusterset_add(&q->meta, cl, n, e);
}

static int own_l2_tables(struct image *img, struct err *e)
{
	struct qcow2 *q = qcow2_of(img);

	for (uint64_t i = 0; i < q->h.l1_n; i++) {
		uint64_t host = qcow2_l1_get(q, i) & QCOW2_HOST_MASK;

		if (host && own(img, "L2 table", host, q->cluster_len, e))
			return -1;
	}
	return 0;
}

static int own_refblocks(struct image *img, struct err *e)
{
	struct qcow2 *q = qcow2_of(img);

	for (uint64_t i = 0; i < qcow2_reftable_n(q); i++) {
		uint64_t host = qcow2_reftable_get(q, i);

		if (host && own(img, "refcount block", host, q->cluster_len, e))
			return -1;
	}
	return 0;
}

/* The snapshot table and the L1 tables of the snapshots. */
static int own_snapshots(struct image *img, struct err *e)
{
	struct qcow2 *q = qcow2_of(img);
	struct qcow2_snapshot_table t;
	int rc;

	if (qcow2_snapshots_read(img, &t, e))
		return -1;
	rc = own(img, "snapshot table", q->h.snapshot_host, t.len, e);
	for (size_t i = 0; i < t.n && !rc; i++)
		rc = own(img, "L1 table of a snapshot", t.item[i].l1_host,
		    8ull * t.item[i].l1_n, e);
	qcow2_snapshots_clear(&t);
	return rc;
}

static int own_bitmap(
    struct image *img, const struct qcow2_bitmap *b, struct err *e)
{
	struct qcow2 *q = qcow2_of(img);
	CLEANUP_FREE uint64_t *table = NULL;

	if (own(img, "bitmap table", b->table_host, 8ull * b->table_n, e))
		return -1;
	table = qcow2_bitmap_table(img, b->table_host, b->table_n, e);
	if (!table)
		return -1;
	for (uint32_t i = 0; i < b->table_n; i++)
		if (table[i] > 1 &&
		    own(img, "bitmap data", table[i], q->cluster_len, e))
			return -1;
	return 0;
}

static int own_bitmaps(struct image *img, struct err *e)
{
	const struct qcow2_header *h = &qcow2_of(img)->h;
	struct qcow2_bitmap_list list;
	int rc;

	if (!h->bitmaps.present)
		return 0;
	if (own(img, "bitmap directory", h->bitmaps.dir_host,
		h->bitmaps.dir_len, e) ||
	    qcow2_bitmaps_read(img, &list, e))
		return -1;
	rc = 0;
	for (size_t i = 0; i < list.n && !rc; i++)
		rc = own_bitmap(img, &list.item[i], e);
	qcow2_bitmaps_clear(&list);
	return rc;
}

int qcow2_own_metadata(struct image *img, struct err *e)
{
	struct qcow2 *q = qcow2_of(img);
	const struct qcow2_header *h = &q->h;

	if (own(img, "header", 0, q->cluster_len, e) ||
	    own(img, "L1 table", h->l1_host, 8ull * h->l1_n, e) ||
	    own(img, "refcount table", h->reftable_host,
		(uint64_t)h->reftable_cl * q->cluster_len, e) ||
	    own(img, "encryption header", h->crypt.host, h->crypt.len, e) ||
	    own_refblocks(img, e) || own_l2_tables(img, e) ||
	    own_snapshots(img, e) || own_bitmaps(img, e))
		return -1;
	return 0;
}
