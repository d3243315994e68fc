/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Reference counts of another width.
 *
 * The new table and its blocks go to clusters that are free, and stay free by
 * the old counts: nothing is allocated meanwhile.  The new counts have them in
 * use, and the old table and blocks not any more.  So one write of the header
 * is all that happens: a crash on either side of it leaves nothing behind, and
 * so does a failure before it.
 *
 * The gate is closed and everything is committed.
 */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "amend.h"
#include "params.h"
#include "refbits.h"

#define TABLE_MAX (QCOW2_REFTABLE_LEN_MAX / 8) /* entries */
#define WANTED	  1u			       /* in place of a host offset */

/* Clusters in ascending order. */
struct clusters {
	uint64_t *cl;
	size_t n, max;
};

struct rebuild {
	struct image *img;
	unsigned order;
	uint64_t block_n;    /* counts in a new block */
	uint64_t *block;     /* host offset of a new block; 0: none */
	uint64_t block_end;  /* behind the last that is not 0 */
	uint64_t wanted;     /* how many there are */
	struct clusters old; /* of the old table and its blocks */
	struct clusters new;
	uint64_t table_host, table_cl; /* of the new table */
	uint64_t next;		       /* cluster to look for free ones from */
};

static int add_cluster(struct clusters *list, uint64_t cl, struct err *e)
{
	if (list->n == list->max) {
		size_t max = list->max ? 2 * list->max : 64;
		uint64_t *more = reallocarray(list->cl, max, sizeof *more);

		if (!more)
			return err_nomem(e);
		list->cl = more;
		list->max = max;
	}
	list->cl[list->n++] = cl;
	return 0;
}

static int by_number(const void *a, const void *b)
{
	const uint64_t *x = a, *y = b;

	return *x < *y ? -1 : *x > *y;
}

/* ---- what is there ------------------------------------------------------- */

static int list_old(struct rebuild *r, struct err *e)
{
	const struct qcow2 *q = qcow2_of(r->img);
	unsigned bits = q->h.cluster_bits;

	for (uint64_t i = 0; i < q->h.reftable_cl; i++)
		if (add_cluster(&r->old, (q->h.reftable_host >> bits) + i, e))
			return -1;
	for (uint64_t ix = 0; ix < qcow2_reftable_n(q); ix++) {
		uint64_t host;

		if (qcow2_refblock_host(r->img, ix, &host, e) ||
		    (host && add_cluster(&r->old, host >> bits, e)))
			return -1;
	}
	qsort(r->old.cl, r->old.n, sizeof *r->old.cl, by_number);
	return 0;
}

static int too_large(const struct rebuild *r, uint64_t cl, struct err *e)
{
	return err_set(e, ERR_SYSTEM, EFBIG,
	    "%s: a refcount table of %u bytes cannot count the cluster at "
	    "%#llx with %u bits",
	    r->img->name, QCOW2_REFTABLE_LEN_MAX,
	    (unsigned long long)cl << qcow2_of(r->img)->h.cluster_bits,
	    1u << r->order);
}

/* There must be a block that counts cluster `cl`. */
static int want_block(struct rebuild *r, uint64_t cl, struct err *e)
{
	uint64_t ix = cl / r->block_n;

	if (ix >= TABLE_MAX)
		return too_large(r, cl, e);
	if (r->block[ix])
		return 0;
	r->block[ix] = WANTED;
	r->block_end = max_u64(r->block_end, ix + 1);
	r->wanted++;
	return 0;
}

static int look_at_counts(
    struct rebuild *r, uint64_t cl, uint64_t n, struct err *e)
{
	struct qcow2_highest top;

	if (qcow2_refcount_highest(r->img, cl, n, &top, e))
		return -1;
	if (top.count > refbits_max(r->order))
		return err_set(e, ERR_USAGE, ERANGE,
		    "Cannot decrease refcount entry width to %u bits: Cluster "
		    "at offset %#llx has a refcount of %llu",
		    1u << r->order,
		    (unsigned long long)top.cl
			<< qcow2_of(r->img)->h.cluster_bits,
		    (unsigned long long)top.count);
	return top.count ? want_block(r, cl, e) : 0;
}

/* Do all counts fit, and which blocks will there be? */
static int survey(struct rebuild *r, struct err *e)
{
	const struct qcow2 *q = qcow2_of(r->img);
	uint64_t table_n = qcow2_reftable_n(q), cl, n;

	/* Each count is looked at twice. */
	image_work_begin(r->img, 2 * table_n * q->refblock_n);
	for (uint64_t ix = 0; ix < table_n; ix++) {
		uint64_t host, end = (ix + 1) * q->refblock_n;

		if (qcow2_refblock_host(r->img, ix, &host, e) ||
		    image_work(r->img, q->refblock_n, e))
			return -1;
		for (cl = ix * q->refblock_n; host && cl < end; cl += n) {
			n = min_u64(end - cl, r->block_n - cl % r->block_n);
			if (look_at_counts(r, cl, n, e))
				return -1;
		}
	}
	return 0;
}

/* ---- new space ----------------------------------------------------------- */

/* At least `least` free clusters in a row, behind those taken before. */
static int take_run(struct rebuild *r, uint64_t least, uint64_t want,
    uint64_t *cl, uint64_t *got, struct err *e)
{
	uint64_t n;
	bool used;

	for (;; r->next += n) {
		if (qcow2_refcount_run(r->img, r->next, want, &used, &n, e))
			return -1;
		if (!used && n >= least)
			break;
	}
	if (qcow2_check_free(r->img, r->next, n, e))
		return -1;
	*cl = r->next;
	*got = n;
	r->next += n;
	for (uint64_t i = 0; i < n; i++)
		if (add_cluster(&r->new, *cl + i, e) ||
		    want_block(r, *cl + i, e))
			return -1;
	return 0;
}

/*
 * The table goes first: it is as large as it would be if all of the file were
 * in use, so that it is large enough wherever the blocks go.
 */
static int take_table(struct rebuild *r, struct err *e)
{
	const struct qcow2 *q = qcow2_of(r->img);
	const struct qcow2_params p = {
	    .cluster_bits = q->h.cluster_bits, .refcount_order = r->order};
	uint64_t cl, n, blocks_n;

	qcow2_refcount_space(
	    &p, r->block_end * r->block_n, &r->table_cl, &blocks_n);
	if (r->table_cl << q->h.cluster_bits > QCOW2_REFTABLE_LEN_MAX)
		return too_large(r, r->block_end * r->block_n, e);
	if (take_run(r, r->table_cl, r->table_cl, &cl, &n, e))
		return -1;
	r->table_host = cl << q->h.cluster_bits;
	return 0;
}

static int take_blocks(struct rebuild *r, struct err *e)
{
	const struct qcow2 *q = qcow2_of(r->img);
	uint64_t first = r->new.n, cl, n;

	/* What is taken may need one more. */
	while (r->new.n - first < r->wanted)
		if (take_run(r, 1, r->wanted - (r->new.n - first), &cl, &n, e))
			return -1;
	for (uint64_t ix = 0; ix < r->block_end; ix++)
		if (r->block[ix])
			r->block[ix] = r->new.cl[first++] << q->h.cluster_bits;
	return 0;
}

/* ---- the new structure --------------------------------------------------- */

/* Put right what the copy says of those of `list` in a block; *at: the first
 * of them that it may hold. */
static void patch(const struct rebuild *r, const struct clusters *list,
    size_t *at, uint64_t ix, bool add, uint8_t *buf)
{
	uint64_t first = ix * r->block_n;

	for (; *at < list->n && list->cl[*at] < first + r->block_n; ++*at) {
		uint64_t i = list->cl[*at] - first;
		uint64_t v = refbits_get(buf, r->order, i);

		if (add || v)
			refbits_put(buf, r->order, i, add ? v + 1 : v - 1);
	}
}

static int write_blocks(struct rebuild *r, struct err *e)
{
	const struct qcow2 *q = qcow2_of(r->img);
	CLEANUP_FREE uint8_t *buf = malloc(q->cluster_len);
	size_t old = 0, new = 0;

	if (!buf)
		return err_nomem(e);
	for (uint64_t ix = 0; ix < r->block_end; ix++) {
		if (!r->block[ix])
			continue;
		memset(buf, 0, q->cluster_len);
		if (image_work(r->img, r->block_n, e) ||
		    qcow2_refcount_copy(
			r->img, ix * r->block_n, r->block_n, buf, r->order, e))
			return -1;
		patch(r, &r->old, &old, ix, false, buf);
		patch(r, &r->new, &new, ix, true, buf);
		if (host_pwrite(
			r->img->file, buf, q->cluster_len, r->block[ix], e))
			return -1;
	}
	return 0;
}

static int write_table(struct rebuild *r, struct err *e)
{
	const struct qcow2 *q = qcow2_of(r->img);
	uint64_t len = r->table_cl << q->h.cluster_bits;
	CLEANUP_FREE uint8_t *buf = calloc(1, len);

	if (!buf)
		return err_nomem(e);
	assert(r->block_end <= len / 8);
	for (uint64_t ix = 0; ix < r->block_end; ix++)
		put_be64(buf + ix * 8, r->block[ix]);
	return host_pwrite(r->img->file, buf, len, r->table_host, e) ||
		       host_sync(r->img->file, e)
		   ? -1
		   : 0;
}

static int build(struct rebuild *r, struct err *e)
{
	r->block = calloc(TABLE_MAX, sizeof *r->block);
	if (!r->block)
		return err_nomem(e);
	r->next = qcow2_of(r->img)->free_cl;
	return list_old(r, e) || survey(r, e) || take_table(r, e) ||
		       take_blocks(r, e) || write_blocks(r, e) ||
		       write_table(r, e)
		   ? -1
		   : 0;
}

/* ---- the moment of change ------------------------------------------------ */

static int own_new(struct rebuild *r, struct err *e)
{
	struct qcow2 *q = qcow2_of(r->img);

	for (size_t i = 0; i < r->new.n; i++) {
		if (!clusterset_add(&q->meta, r->new.cl[i], 1, e))
			continue;
		while (i--)
			clusterset_remove(&q->meta, r->new.cl[i], 1);
		return -1;
	}
	return 0;
}

static void disown_old(struct rebuild *r)
{
	struct qcow2 *q = qcow2_of(r->img);

	for (size_t i = 0; i < r->old.n; i++)
		clusterset_remove(&q->meta, r->old.cl[i], 1);
	q->free_cl = min_u64(q->free_cl, r->old.cl[0]);
}

/* The new structure is the one in memory.  On failure the old one stays. */
static int use_new(struct rebuild *r, struct err *e)
{
	struct qcow2 *q = qcow2_of(r->img);
	struct qcow2_header old = q->h;
	struct table **old_slices = q->reftable;
	uint32_t old_n = q->reftable_slices_n;

	q->h.reftable_host = r->table_host;
	q->h.reftable_cl = (uint32_t)r->table_cl;
	q->h.refcount_order = r->order;
	if (qcow2_load_reftable(r->img, e)) {
		q->h = old;
		q->reftable = old_slices;
		q->reftable_slices_n = old_n;
		return -1;
	}
	qcow2_geometry(q);
	qcow2_drop_slices(q, old_slices, old_n);
	tables_forget(q->tables, old.reftable_host,
	    (uint64_t)old.reftable_cl * q->cluster_len);
	tables_forget_level(q->tables, TABLE_COUNT);
	disown_old(r);
	q->end =
	    max_u64(q->end, (r->new.cl[r->new.n - 1] + 1) << q->h.cluster_bits);
	return 0;
}

int qcow2_amend_counts(struct image *img, unsigned order, struct err *e)
{
	struct qcow2 *q = qcow2_of(img);
	struct rebuild r = {.img = img,
	    .order = order,
	    .block_n = 8ull * q->cluster_len >> order};
	int rc;

	rwlock_excl(&img->meta);
	rc = build(&r, e);
	if (!rc)
		rc = own_new(&r, e);
	if (!rc)
		rc = use_new(&r, e);
	rwlock_excl_end(&img->meta);
	if (!rc && (qcow2_header_write(img, e) || host_sync(img->file, e)))
		rc = image_fail(img, e);
	free(r.block);
	free(r.old.cl);
	free(r.new.cl);
	return rc;
}
