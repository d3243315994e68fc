/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Ending the file where its last used cluster does, after the disk became
 * smaller: see resize.h.
 *
 * Refcount blocks that count nothing but themselves go first: they lie all
 * over a file, so one of them would keep it long.
 */
#include "../core/request.h"
#include "refbits.h"
#include "resize.h"

/* Clusters of blocks that the refcount table does not point to any more. */
struct dropped {
	uint64_t *cl;
	size_t n;
	struct clusterset set; /* the same */
};

/* ---- one block ----------------------------------------------------------- */

/* Clusters in use, other than those of dropped blocks. */
struct used {
	uint64_t end; /* behind the last one */
	uint64_t count;
};

/* A piece of a block, from the count of cluster `first` on. */
static void scan_slice(const struct qcow2 *q, const struct table *t,
    uint64_t first, const struct dropped *d, struct used *u)
{
	uint64_t n = q->slice_len * 8ull >> q->h.refcount_order;

	for (uint64_t i = 0; i < n; i++) {
		if (!refbits_get(t->data, q->h.refcount_order, i) ||
		    clusterset_any(&d->set, first + i, 1))
			continue;
		u->end = first + i + 1;
		u->count++;
	}
}

static int scan_block(struct image *img, uint64_t ix, uint64_t host,
    const struct dropped *d, struct used *u, struct err *e)
{
	struct qcow2 *q = qcow2_of(img);
	uint64_t per_slice = q->slice_len * 8ull >> q->h.refcount_order;
	uint64_t n = q->cluster_len / q->slice_len;

	*u = (struct used){0};
	for (uint64_t i = 0; i < n; i++) {
		struct table *t = tables_get(q->tables, host + i * q->slice_len,
		    q->slice_len, TABLE_COUNT, e);

		if (!t)
			return -1;
		scan_slice(q, t, ix * q->refblock_n + i * per_slice, d, u);
		tables_put(q->tables, t);
	}
	return 0;
}

/* ---- empty blocks -------------------------------------------------------- */

/* Take block ix out of the table if it counts nothing else. */
static int drop_if_empty(
    struct image *img, uint64_t ix, struct dropped *d, struct err *e)
{
	struct qcow2 *q = qcow2_of(img);
	uint64_t host, cl;
	struct used u;

	if (qcow2_refblock_host(img, ix, &host, e))
		return -1;
	if (!host)
		return 0;
	if (scan_block(img, ix, host, d, &u, e))
		return -1;
	cl = host >> q->h.cluster_bits;
	if (u.count > 1 || (u.count == 1 && u.end != cl + 1))
		return 0;
	if (clusterset_add(&d->set, cl, 1, e))
		return -1;
	d->cl[d->n++] = cl;
	tables_forget(q->tables, host, q->cluster_len);
	clusterset_remove(&q->meta, cl, 1);
	return qcow2_reftable_set(q, ix, 0, e);
}

/* Un-count the blocks that the table has forgotten, where a block is left. */
static int uncount(struct image *img, const struct dropped *d, struct err *e)
{
	const struct qcow2 *q = qcow2_of(img);

	for (size_t i = 0; i < d->n; i++) {
		uint64_t block;

		if (qcow2_refblock_host(
			img, d->cl[i] / q->refblock_n, &block, e))
			return -1;
		if (block && qcow2_refcount_add(img, d->cl[i], 1, -1, e))
			return -1;
	}
	return 0;
}

/* From the last one down: what counted a dropped block may be dropped too. */
static int drop_blocks(
    struct image *img, uint64_t blocks, struct dropped *d, struct err *e)
{
	struct qcow2 *q = qcow2_of(img);

	for (uint64_t ix = blocks; ix--;)
		if (drop_if_empty(img, ix, d, e))
			return -1;
	if (tables_write_counts(q->tables, e) || host_sync(img->file, e))
		return -1;
	return uncount(img, d, e);
}

/* ---- the end of the file ------------------------------------------------- */

static int find_end(struct image *img, uint64_t blocks, const struct dropped *d,
    uint64_t *end, struct err *e)
{
	struct qcow2 *q = qcow2_of(img);

	*end = 0;
	for (uint64_t ix = blocks; !*end && ix--;) {
		struct used u;
		uint64_t host;

		if (qcow2_refblock_host(img, ix, &host, e))
			return -1;
		if (!host)
			continue;
		if (scan_block(img, ix, host, d, &u, e))
			return -1;
		*end = u.end << q->h.cluster_bits;
	}
	return 0;
}

static int shorten(struct image *img, uint64_t *end, struct err *e)
{
	struct qcow2 *q = qcow2_of(img);
	uint64_t blocks = min_u64(qcow2_reftable_n(q),
	    div_up(q->end >> q->h.cluster_bits, q->refblock_n));
	struct dropped d = {.cl = calloc(blocks + 1, sizeof *d.cl)};
	int rc;

	if (!d.cl)
		return err_nomem(e);
	clusterset_init(&d.set);
	rc = drop_blocks(img, blocks, &d, e);
	if (!rc)
		rc = find_end(img, blocks, &d, end, e);
	if (!rc)
		q->end = min_u64(q->end, *end);
	clusterset_destroy(&d.set);
	free(d.cl);
	return rc;
}

int qcow2_cut_file(struct image *img, struct err *e)
{
	struct qcow2 *q = qcow2_of(img);
	struct err ignored = ERR_INIT;
	uint64_t end = UINT64_MAX;
	int rc;

	if (q->data != img->file && !q->data->fixed_size &&
	    host_truncate(q->data, img_size(img), e))
		return -1;
	rwlock_excl(&img->meta);
	rc = shorten(img, &end, e);
	rwlock_excl_end(&img->meta);
	if (rc)
		return image_fail(img, e);
	/* The disk has its new size: a file that stays long is no harm. */
	if (!img->file->fixed_size && end < host_size(img->file))
		host_truncate(img->file, end, &ignored);
	return 0;
}
