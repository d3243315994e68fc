/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Reference counts of host clusters, and finding free ones.
 *
 * A count is raised when space is reserved and lowered only by abandon (nobody
 * saw the space) or release (it left quarantine): so whatever the cache says
 * is free may be taken (I1, I3).  meta exclusive.
 */
#include <errno.h>

#include "qcow2.h"
#include "refbits.h"

/* ---- one count ----------------------------------------------------------- */

static uint64_t count_max(const struct qcow2 *q)
{
	return refbits_max(q->h.refcount_order);
}

/* Where the count of a cluster is. */
struct place {
	struct table *slice; /* NULL: no block yet, the count is 0 */
	uint64_t ix;	     /* in the slice */
	uint64_t left;	     /* counts from here to the end of the slice */
};

static int find_count(
    struct image *img, uint64_t cl, struct place *p, struct err *e)
{
	struct qcow2 *q = qcow2_of(img);
	uint64_t per_slice = q->slice_len * 8ull >> q->h.refcount_order;
	uint64_t in_block = cl % q->refblock_n, host;

	p->slice = NULL;
	p->ix = in_block % per_slice;
	p->left = per_slice - p->ix;
	if (qcow2_refblock_host(img, cl / q->refblock_n, &host, e))
		return -1;
	if (!host)
		return 0;
	host += in_block / per_slice * q->slice_len;
	p->slice = tables_get(q->tables, host, q->slice_len, TABLE_COUNT, e);
	return p->slice ? 0 : -1;
}

static uint64_t slice_count(
    const struct qcow2 *q, const struct place *p, uint64_t i)
{
	return refbits_get(p->slice->data, q->h.refcount_order, p->ix + i);
}

int qcow2_refcount_get(
    struct image *img, uint64_t cl, uint64_t *out, struct err *e)
{
	struct qcow2 *q = qcow2_of(img);
	struct place p;

	*out = 0;
	if (find_count(img, cl, &p, e))
		return -1;
	if (p.slice)
		*out = slice_count(q, &p, 0);
	tables_put(q->tables, p.slice);
	return 0;
}

static int bad_count(
    struct image *img, uint64_t cl, uint64_t count, struct err *e)
{
	return err_set(e, ERR_DAMAGED, EIO,
	    "%s: reference count of the cluster at %#llx is %llu: cannot be "
	    "changed so",
	    img->name, (unsigned long long)cl << qcow2_of(img)->h.cluster_bits,
	    (unsigned long long)count);
}

static void now_free(struct qcow2 *q, uint64_t cl)
{
	q->free_cl = min_u64(q->free_cl, cl);
	if (q->packed_host >> q->h.cluster_bits == cl)
		q->packed_host = 0;
}

static int add_in_slice(struct image *img, const struct place *p, uint64_t cl,
    uint64_t n, void *arg, struct err *e)
{
	struct qcow2 *q = qcow2_of(img);
	int delta = *(const int *)arg;
	unsigned order = q->h.refcount_order;

	if (!p->slice)
		return bad_count(img, cl, 0, e);
	if (delta && tables_change(q->tables, p->slice, e))
		return -1;
	for (uint64_t i = 0; i < n; i++) {
		uint64_t v = slice_count(q, p, i);

		if (delta < 0 ? !v : v == count_max(q))
			return bad_count(img, cl + i, v, e);
		if (!delta)
			continue;
		v += delta;
		refbits_put(p->slice->data, order, p->ix + i, v);
		if (!v)
			now_free(q, cl + i);
	}
	return 0;
}

/* Counts of one slice, from that of cluster `cl` on. */
typedef int place_fn(struct image *img, const struct place *p, uint64_t cl,
    uint64_t n, void *arg, struct err *e);

/* For the counts of clusters [cl, cl + n), slice by slice. */
static int each_place(struct image *img, uint64_t cl, uint64_t n, place_fn *fn,
    void *arg, struct err *e)
{
	struct qcow2 *q = qcow2_of(img);

	while (n) {
		struct place p;
		uint64_t now;
		int rc;

		if (find_count(img, cl, &p, e))
			return -1;
		now = min_u64(n, p.left);
		rc = fn(img, &p, cl, now, arg, e);
		tables_put(q->tables, p.slice);
		if (rc)
			return -1;
		cl += now;
		n -= now;
	}
	return 0;
}

int qcow2_refcount_add(
    struct image *img, uint64_t cl, uint64_t n, int delta, struct err *e)
{
	return each_place(img, cl, n, add_in_slice, &delta, e);
}

bool qcow2_refcount_can_share(struct image *img, uint64_t cl)
{
	struct err ignored = ERR_INIT;
	uint64_t count;

	return !qcow2_refcount_get(img, cl, &count, &ignored) && count &&
	       count < count_max(qcow2_of(img));
}

/* ---- all counts ---------------------------------------------------------- */

static int find_highest(struct image *img, const struct place *p, uint64_t cl,
    uint64_t n, void *arg, struct err *e)
{
	const struct qcow2 *q = qcow2_of(img);
	struct qcow2_highest *h = arg;

	(void)e;
	for (uint64_t i = 0; p->slice && i < n; i++) {
		uint64_t v = slice_count(q, p, i);

		if (v > h->count)
			*h = (struct qcow2_highest){v, cl + i};
	}
	return 0;
}

int qcow2_refcount_highest(struct image *img, uint64_t cl, uint64_t n,
    struct qcow2_highest *out, struct err *e)
{
	*out = (struct qcow2_highest){0};
	return each_place(img, cl, n, find_highest, out, e);
}

/* A block of counts of another width. */
struct wider {
	uint8_t *block;
	unsigned order;
	uint64_t cl; /* of its first count */
};

static int copy_in_slice(struct image *img, const struct place *p, uint64_t cl,
    uint64_t n, void *arg, struct err *e)
{
	const struct qcow2 *q = qcow2_of(img);
	const struct wider *w = arg;

	(void)e;
	for (uint64_t i = 0; p->slice && i < n; i++)
		refbits_put(
		    w->block, w->order, cl - w->cl + i, slice_count(q, p, i));
	return 0;
}

int qcow2_refcount_copy(struct image *img, uint64_t cl, uint64_t n,
    uint8_t *block, unsigned order, struct err *e)
{
	struct wider w = {block, order, cl};

	return each_place(img, cl, n, copy_in_slice, &w, e);
}

/* ---- finding free clusters ------------------------------------------------
 */

int qcow2_refcount_run(struct image *img, uint64_t cl, uint64_t want,
    bool *used, uint64_t *run, struct err *e)
{
	const struct qcow2 *q = qcow2_of(img);
	uint64_t n, i;

	*used = false;
	for (*run = 0, i = n = 0; i == n && *run < want; *run += i) {
		struct place p;

		if (find_count(img, cl + *run, &p, e))
			return -1;
		n = min_u64(want - *run, p.left);
		if (p.slice && !*run)
			*used = slice_count(q, &p, 0);
		for (i = 0; i < n; i++)
			if ((p.slice && slice_count(q, &p, i)) != *used)
				break;
		tables_put(q->tables, p.slice);
	}
	return 0;
}

/* The first cluster from cl on whose count is 0. */
static int next_free(struct image *img, uint64_t *cl, struct err *e)
{
	struct qcow2 *q = qcow2_of(img);

	for (;;) {
		uint64_t i = 0;
		struct place p;

		if (find_count(img, *cl, &p, e))
			return -1;
		while (
		    p.slice && i < p.left &&
		    refbits_get(p.slice->data, q->h.refcount_order, p.ix + i))
			i++;
		tables_put(q->tables, p.slice);
		*cl += i;
		if (!p.slice || i < p.left)
			return 0;
	}
}

static int check_room(struct image *img, uint64_t cl, uint64_t n, struct err *e)
{
	struct qcow2 *q = qcow2_of(img);

	/* Host offsets of table entries end at bit 55. */
	if (cl + n <= (QCOW2_HOST_MASK + 1) >> q->h.cluster_bits)
		return 0;
	return err_set(
	    e, ERR_SYSTEM, EFBIG, "%s: the file is too large", img->name);
}

/* I4: what counts as free must not hold live metadata. */
static int check_not_live(
    struct image *img, uint64_t cl, uint64_t n, struct err *e)
{
	struct qcow2 *q = qcow2_of(img);

	if (!clusterset_any(&q->meta, cl, n))
		return 0;
	err_set(e, ERR_DAMAGED, EIO,
	    "%s: live metadata between %#llx and %#llx has reference count 0",
	    img->name, (unsigned long long)cl << q->h.cluster_bits,
	    (unsigned long long)(cl + n) << q->h.cluster_bits);
	return image_fail(img, e);
}

int qcow2_check_free(struct image *img, uint64_t cl, uint64_t n, struct err *e)
{
	return check_room(img, cl, n, e) || check_not_live(img, cl, n, e) ? -1
									  : 0;
}

/* A run of free clusters, and what of it new refcount blocks will take. */
struct run {
	uint64_t cl, blocks_n, n; /* blocks at cl, then n clusters to use */
};

/*
 * What of the free run at r->cl, up to `want` clusters, can be used; *skip:
 * clusters to pass by when that is too little.
 */
static int measure_run(struct image *img, uint64_t want, struct run *r,
    uint64_t *skip, struct err *e)
{
	struct qcow2 *q = qcow2_of(img);
	uint64_t slack = div_up(want, q->refblock_n) + 2;
	bool used;

	if (qcow2_refcount_run(img, r->cl, want + slack, &used, skip, e))
		return -1;
	r->n = min_u64(want, *skip);
	if (qcow2_refblocks_needed(img, r->cl, r->n, &r->blocks_n, e))
		return -1;
	if (r->n + r->blocks_n <= *skip)
		return 0;
	/* Too short for both: the blocks that the run itself touches. */
	if (qcow2_refblocks_missing(img, r->cl, *skip, &r->blocks_n, e))
		return -1;
	r->n = *skip - r->blocks_n;
	return 0;
}

static int find_run(struct image *img, uint64_t least, uint64_t want,
    struct run *r, struct err *e)
{
	struct qcow2 *q = qcow2_of(img);
	uint64_t skip = 0, last_ix;
	bool first = true;

	for (r->cl = q->free_cl;; r->cl += skip) {
		if (next_free(img, &r->cl, e))
			return -1;
		if (first)
			q->free_cl = r->cl;
		first = false;
		if (measure_run(img, want, r, &skip, e) ||
		    check_room(img, r->cl, skip, e))
			return -1;
		if (r->n < least)
			continue;
		last_ix = (r->cl + r->blocks_n + r->n - 1) / q->refblock_n;
		if (last_ix < qcow2_reftable_n(q))
			return 0;
		/* That takes clusters: look again, from the same place. */
		if (qcow2_reftable_grow(img, last_ix, e))
			return -1;
		skip = 0;
	}
}

int qcow2_alloc(struct image *img, uint64_t least, uint64_t want,
    uint64_t *host, uint64_t *got, struct err *e)
{
	struct qcow2 *q = qcow2_of(img);
	struct run r;
	uint64_t cl, end_cl;

	if (find_run(img, least, want, &r, e))
		return -1;
	cl = r.cl + r.blocks_n;
	end_cl = cl + r.n;
	if (qcow2_check_free(img, r.cl, end_cl - r.cl, e) ||
	    qcow2_take_room(img, r.cl << q->h.cluster_bits,
		r.blocks_n << q->h.cluster_bits, e) ||
	    qcow2_refblocks_make(img, r.cl, r.n, r.blocks_n, e) ||
	    qcow2_refcount_add(img, cl, r.n, 1, e))
		return -1;
	if (r.cl == q->free_cl)
		q->free_cl = end_cl;
	q->end = max_u64(q->end, end_cl << q->h.cluster_bits);
	*host = cl << q->h.cluster_bits;
	*got = r.n;
	return 0;
}
