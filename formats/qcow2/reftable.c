/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The refcount table: where the refcount blocks are, and how both grow.
 *
 * New blocks for a run of free clusters are put at the start of the run, so
 * that a block may count itself; nothing on disk points to a block before the
 * block is durable (TABLE_COUNT comes before TABLE_ROOT).  The table itself
 * grows by moving past everything that it covers: the next commit writes it as
 * new, then the header that names it, and the old one goes to quarantine like
 * any other space.  meta exclusive throughout.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "../core/prealloc.h"
#include "qcow2.h"

#define REFTABLE_RESERVED 0x1ffull

static uint32_t per_slice(const struct qcow2 *q)
{
	return q->slice_len / 8;
}

uint64_t qcow2_reftable_n(const struct qcow2 *q)
{
	return ((uint64_t)q->h.reftable_cl << q->h.cluster_bits) / 8;
}

uint64_t qcow2_reftable_get(const struct qcow2 *q, uint64_t ix)
{
	const struct table *t = q->reftable[ix / per_slice(q)];

	return be64(t->data + ix % per_slice(q) * 8);
}

int qcow2_reftable_set(
    struct qcow2 *q, uint64_t ix, uint64_t host, struct err *e)
{
	struct table *t = q->reftable[ix / per_slice(q)];

	if (tables_change(q->tables, t, e))
		return -1;
	put_be64(t->data + ix % per_slice(q) * 8, host);
	return 0;
}

int qcow2_refblock_host(
    struct image *img, uint64_t ix, uint64_t *host, struct err *e)
{
	const struct qcow2 *q = qcow2_of(img);

	*host = ix < qcow2_reftable_n(q) ? qcow2_reftable_get(q, ix) : 0;
	if ((*host & REFTABLE_RESERVED) ||
	    (*host && !qcow2_cluster_ok(q, *host, q->cluster_len)))
		return qcow2_bad_entry(img,
		    &(struct qcow2_bad){
			"refcount table", q->h.reftable_host, ix, *host},
		    "points to no cluster of the file", e);
	return 0;
}

int qcow2_refblocks_missing(struct image *img, uint64_t cl, uint64_t n,
    uint64_t *missing, struct err *e)
{
	const struct qcow2 *q = qcow2_of(img);
	uint64_t last = (cl + n - 1) / q->refblock_n;

	*missing = 0;
	for (uint64_t ix = cl / q->refblock_n; ix <= last; ix++) {
		uint64_t host;

		if (qcow2_refblock_host(img, ix, &host, e))
			return -1;
		*missing += !host;
	}
	return 0;
}

int qcow2_refblocks_needed(struct image *img, uint64_t cl, uint64_t n,
    uint64_t *blocks_n, struct err *e)
{
	uint64_t before;

	*blocks_n = 0;
	/* The blocks themselves may need further blocks: a few rounds. */
	do {
		before = *blocks_n;
		if (qcow2_refblocks_missing(img, cl, n + before, blocks_n, e))
			return -1;
	} while (*blocks_n != before);
	return 0;
}

int qcow2_take_room(
    struct image *img, uint64_t host, uint64_t len, struct err *e)
{
	return prealloc_write(img->file, host, len, NULL, e);
}

/* An empty block at `host`, dirty in the cache. */
static int new_block(struct image *img, uint64_t host, struct err *e)
{
	struct qcow2 *q = qcow2_of(img);

	if (clusterset_add(&q->meta, host >> q->h.cluster_bits, 1, e))
		return -1;
	q->end = max_u64(q->end, host + q->cluster_len);
	for (uint64_t at = 0; at < q->cluster_len; at += q->slice_len) {
		struct table *t = tables_new(
		    q->tables, host + at, q->slice_len, TABLE_COUNT, e);

		if (!t)
			return -1;
		tables_put(q->tables, t);
	}
	return 0;
}

int qcow2_refblocks_make(struct image *img, uint64_t cl, uint64_t n,
    uint64_t blocks_n, struct err *e)
{
	struct qcow2 *q = qcow2_of(img);
	uint64_t at = cl, last = (cl + n + blocks_n - 1) / q->refblock_n;

	for (uint64_t ix = cl / q->refblock_n; ix <= last; ix++) {
		uint64_t host;

		if (qcow2_refblock_host(img, ix, &host, e))
			return -1;
		if (host)
			continue;
		host = at++ << q->h.cluster_bits;
		if (new_block(img, host, e) ||
		    qcow2_reftable_set(q, ix, host, e))
			return -1;
	}
	return blocks_n ? qcow2_refcount_add(img, cl, blocks_n, 1, e) : 0;
}

/* ---- growing the table --------------------------------------------------- */

/* Slices of a table of `cl_n` clusters at `host`: the old entries, then 0. */
static struct table **copy_table(
    struct image *img, uint64_t host, uint64_t cl_n, uint32_t *n, struct err *e)
{
	struct qcow2 *q = qcow2_of(img);
	struct table **slice;

	*n = (cl_n << q->h.cluster_bits) / q->slice_len;
	slice = calloc(*n, sizeof(*slice));
	if (!slice) {
		err_nomem(e);
		return NULL;
	}
	for (uint32_t i = 0; i < *n; i++) {
		slice[i] =
		    tables_new(q->tables, host + (uint64_t)i * q->slice_len,
			q->slice_len, TABLE_ROOT, e);
		if (!slice[i]) {
			qcow2_drop_slices(q, slice, i);
			return NULL;
		}
		if (i < q->reftable_slices_n)
			memcpy(
			    slice[i]->data, q->reftable[i]->data, q->slice_len);
	}
	return slice;
}

/* The table in use is now the one of `cl_n` clusters at `host`. */
static int use_table(
    struct image *img, uint64_t host, uint64_t cl_n, struct err *e)
{
	struct qcow2 *q = qcow2_of(img);
	uint32_t slices_n;
	struct table **slice = copy_table(img, host, cl_n, &slices_n, e);

	if (!slice)
		return -1;
	qcow2_drop_slices(q, q->reftable, q->reftable_slices_n);
	q->reftable = slice;
	q->reftable_slices_n = slices_n;
	q->h.reftable_host = host;
	q->h.reftable_cl = (uint32_t)cl_n;
	q->end = max_u64(q->end, host + (cl_n << q->h.cluster_bits));
	return 0;
}

int qcow2_reftable_move(struct image *img, uint64_t host, struct err *e)
{
	return use_table(img, host, qcow2_of(img)->h.reftable_cl, e);
}

/* Nothing refers to the old table once the header is written. */
static int retire_table(
    struct image *img, uint64_t host, uint64_t cl_n, struct err *e)
{
	struct qcow2 *q = qcow2_of(img);
	uint64_t len = cl_n << q->h.cluster_bits;

	tables_forget(q->tables, host, len);
	clusterset_remove(&q->meta, host >> q->h.cluster_bits, cl_n);
	return image_retire(img, host, len, true, false, e);
}

int qcow2_reftable_grow(struct image *img, uint64_t ix, struct err *e)
{
	struct qcow2 *q = qcow2_of(img);
	uint64_t old_n = qcow2_reftable_n(q), old_host = q->h.reftable_host;
	uint64_t old_cl = q->h.reftable_cl;
	uint64_t want = max_u64(ix + 1, old_n + old_n / 2) * 8;
	uint64_t cl_n = div_up(want, q->cluster_len);
	uint64_t cl = old_n * q->refblock_n, blocks_n, new_cl;

	if (cl_n << q->h.cluster_bits > QCOW2_REFTABLE_LEN_MAX)
		return err_set(e, ERR_SYSTEM, EFBIG,
		    "%s: the file would grow beyond what a refcount table of "
		    "%u bytes can count",
		    img->name, QCOW2_REFTABLE_LEN_MAX);
	/* Beyond what the old table covers everything is free. */
	if (qcow2_refblocks_needed(img, cl, cl_n, &blocks_n, e))
		return -1;
	new_cl = cl + blocks_n;
	if (qcow2_take_room(img, cl << q->h.cluster_bits,
		(blocks_n + cl_n) << q->h.cluster_bits, e))
		return -1;
	if (clusterset_add(&q->meta, new_cl, cl_n, e) ||
	    use_table(img, new_cl << q->h.cluster_bits, cl_n, e) ||
	    qcow2_refblocks_make(img, cl, cl_n, blocks_n, e) ||
	    qcow2_refcount_add(img, new_cl, cl_n, 1, e) ||
	    qcow2_header_stage_reftable(img, e) ||
	    retire_table(img, old_host, old_cl, e))
		return image_fail(img, e);
	return 0;
}
