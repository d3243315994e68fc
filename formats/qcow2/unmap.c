/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Zero and trim of whole clusters, and zero of whole subclusters: only entries
 * change, data moves nowhere.
 *
 * "Zero" must hide the backing image, so it needs the zero flag of version 3
 * wherever something is below; version 2 over a backing image cannot do it.
 * A trimmed cluster reads as zeroes too: what was below never shows again.
 * A cluster in an external data file stays where it is: its bytes are zeroed
 * or punched in place by the core.
 */
#include <errno.h>

#include "qcow2.h"

/* What happens to one cluster. */
enum fate {
	FATE_KEEP,	 /* nothing to do */
	FATE_ZERO,	 /* zero flag, without space */
	FATE_ZERO_SPACE, /* zero flag, the cluster stays ours */
	FATE_HOLE,
	FATE_CANNOT,
};

static bool all_zero(const struct qcow2 *q, const struct qcow2_entry *n)
{
	for (unsigned i = 0; i < q->sub_n; i++)
		if (qcow2_sub_kind(q, n, i) != QCOW2_SUB_ZERO)
			return false;
	return true;
}

/* Holes and zeroes only? */
static bool no_data(const struct qcow2 *q, const struct qcow2_entry *n)
{
	for (unsigned i = 0; i < q->sub_n; i++) {
		enum qcow2_sub kind = qcow2_sub_kind(q, n, i);

		if (kind != QCOW2_SUB_HOLE && kind != QCOW2_SUB_ZERO)
			return false;
	}
	return true;
}

static bool all_hole(const struct qcow2 *q, const struct qcow2_entry *n)
{
	for (unsigned i = 0; i < q->sub_n; i++)
		if (qcow2_sub_kind(q, n, i) != QCOW2_SUB_HOLE)
			return false;
	return true;
}

/* A cluster with nothing in it.  Zeroes are recorded where that is possible,
 * even if nothing is below now: a backing file may be named later. */
static enum fate fate_of_hole(const struct image *img, enum unmap_how how)
{
	bool flag = qcow2_of(img)->h.version >= 3;

	if (!img->has_backing && (how == UNMAP_TRIM || !flag))
		return FATE_KEEP;
	if (flag)
		return FATE_ZERO;
	return how == UNMAP_TRIM ? FATE_KEEP : FATE_CANNOT;
}

static enum fate fate_of(
    const struct image *img, const struct qcow2_entry *n, enum unmap_how how)
{
	const struct qcow2 *q = qcow2_of(img);
	bool space = qcow2_owns_space(q, n);

	/* A trim keeps zeroes that have no space as they are recorded. */
	if (!space &&
	    (all_hole(q, n) ||
		(how == UNMAP_TRIM && !img->has_backing && no_data(q, n))))
		return fate_of_hole(img, how);
	if (q->h.incompatible & QCOW2_I_DATA_FILE) {
		if (!no_data(q, n))
			return FATE_CANNOT;
		if (all_zero(q, n))
			return FATE_KEEP;
		return space ? FATE_ZERO_SPACE : FATE_ZERO;
	}
	if (q->h.version < 3 && img->has_backing)
		return how == UNMAP_TRIM ? FATE_KEEP : FATE_CANNOT;
	if (q->h.version < 3)
		return FATE_HOLE;
	if (how == UNMAP_ZERO || q->keep_space) {
		if (all_zero(q, n))
			return FATE_KEEP;
		return space && (n->l2 & QCOW2_COPIED) ? FATE_ZERO_SPACE
						       : FATE_ZERO;
	}
	return all_zero(q, n) && !space ? FATE_KEEP : FATE_ZERO;
}

static void zero_entry(
    const struct qcow2 *q, uint64_t host_bits, struct qcow2_entry *n)
{
	n->l2 = host_bits;
	n->sub = 0;
	if (q->sub_n > 1)
		n->sub = 0xffffffffull << 32;
	else
		n->l2 |= QCOW2_ZERO;
}

static int apply(struct image *img, enum fate fate, bool punch,
    struct table *slice, uint32_t ix, struct err *e)
{
	struct qcow2 *q = qcow2_of(img);
	struct qcow2_entry old, n = {0};

	qcow2_entry_get(q, slice, ix, &old);
	switch (fate) {
	case FATE_KEEP:
	case FATE_CANNOT:
		return 0;
	case FATE_ZERO_SPACE:
		zero_entry(q, old.host | QCOW2_COPIED, &n);
		break;
	case FATE_ZERO:
		zero_entry(q, 0, &n);
		break;
	case FATE_HOLE:
		break;
	}
	/* A failure of either changes nothing. */
	if (tables_change(q->tables, slice, e) ||
	    (fate != FATE_ZERO_SPACE &&
		qcow2_retire_entry(img, &old, punch, e)))
		return -1;
	qcow2_entry_put(q, slice, ix, &n);
	return 0;
}

/*
 * Clusters from entry ix on; *cl_n of them at most, how many were done comes
 * back.  The table is ours, or nothing in the range changes.
 */
static int unmap_slice(struct image *img, struct table *slice, uint32_t ix,
    uint64_t guest, enum unmap_how how, uint64_t *cl_n, struct err *e)
{
	struct qcow2 *q = qcow2_of(img);
	bool punch = how != UNMAP_ZERO && q->pass_discard &&
		     (img->flags & IMG_O_DISCARD);
	uint64_t i;

	for (i = 0; i < *cl_n; i++) {
		struct qcow2_entry n;
		enum fate fate;

		qcow2_entry_get(q, slice, ix + i, &n);
		if (qcow2_entry_check(
			img, &n, guest + (i << q->h.cluster_bits), e))
			return -1;
		fate = fate_of(img, &n, how);
		if (fate == FATE_CANNOT)
			break;
		if (apply(img, fate, punch, slice, ix + i, e))
			return -1;
	}
	*cl_n = i;
	return 0;
}

/*
 * The subclusters [first, end) of one cluster become zeroes; its space stays.
 * *done: false where zeroes have to be written.
 */
static int zero_subclusters(struct image *img, struct table *slice, uint32_t ix,
    uint64_t guest, unsigned first, unsigned end, bool *done, struct err *e)
{
	struct qcow2 *q = qcow2_of(img);
	struct qcow2_entry n;
	uint64_t mask = 0;

	qcow2_entry_get(q, slice, ix, &n);
	*done = false;
	if (qcow2_entry_check(img, &n, guest, e))
		return -1;
	if (n.l2 & QCOW2_PACKED)
		return 0;
	for (unsigned i = first; i < end; i++) {
		enum qcow2_sub kind = qcow2_sub_kind(q, &n, i);

		if (kind == QCOW2_SUB_DATA &&
		    (q->h.incompatible & QCOW2_I_DATA_FILE))
			return 0;
		mask |= 1ull << i;
	}
	*done = true;
	if (tables_change(q->tables, slice, e))
		return -1;
	n.sub = (n.sub & ~mask) | mask << 32;
	qcow2_entry_put(q, slice, ix, &n);
	return 0;
}

/* Not all of the cluster of `guest`. */
static int unmap_part(struct image *img, struct table *slice, uint32_t ix,
    uint64_t guest, uint64_t *len, struct err *e)
{
	const struct qcow2 *q = qcow2_of(img);
	uint64_t in_cl = guest & (q->cluster_len - 1);
	uint64_t end = min_u64(in_cl + *len, q->cluster_len);
	bool done;

	if (zero_subclusters(img, slice, ix, guest,
		(unsigned)(in_cl / q->sub_len),
		(unsigned)div_up(end, q->sub_len), &done, e))
		return -1;
	*len = done ? end - in_cl : 0;
	return 0;
}

static int unmap_clusters(struct image *img, struct table *slice, uint32_t ix,
    uint64_t guest, enum unmap_how how, uint64_t *len, struct err *e)
{
	const struct qcow2 *q = qcow2_of(img);
	uint32_t per_slice = q->slice_len / q->l2_entry_len;
	uint64_t cl_n = guest + *len == img_size(img)
			    ? div_up(*len, q->cluster_len)
			    : *len / q->cluster_len;

	cl_n = min_u64(cl_n, per_slice - ix);
	if (unmap_slice(img, slice, ix, guest, how, &cl_n, e))
		return -1;
	*len = min_u64(*len, cl_n << q->h.cluster_bits);
	return 0;
}

/* Is the first cluster of the range not all of it in the range? */
static bool starts_in_part(
    const struct image *img, uint64_t guest, uint64_t len)
{
	uint64_t cluster_len = qcow2_of(img)->cluster_len;

	return !is_aligned(guest, cluster_len) ||
	       (len < cluster_len && guest + len != img_size(img));
}

/* No L2 table: nothing to the end of what it would map. */
static int unmap_no_l2(struct image *img, uint64_t guest, uint64_t len,
    enum unmap_how how, uint64_t *done, struct err *e)
{
	const struct qcow2 *q = qcow2_of(img);
	uint64_t span = qcow2_l2_span(q);

	*done = 0;
	switch (fate_of_hole(img, how)) {
	case FATE_KEEP:
		*done = min_u64(len, span - guest % span);
		return 0;
	case FATE_CANNOT:
		return 0;
	case FATE_ZERO:
	case FATE_ZERO_SPACE:
	case FATE_HOLE:
		break;
	}
	return qcow2_own_l2(img, guest, e);
}

int qcow2_unmap(struct image *img, uint64_t guest, uint64_t len,
    enum unmap_how how, uint64_t *done, struct err *e)
{
	struct qcow2 *q = qcow2_of(img);
	uint64_t l1_ix = guest / qcow2_l2_span(q);
	uint32_t ix;
	struct table *slice;
	int rc;

	if (!(qcow2_l1_get(q, l1_ix) & QCOW2_HOST_MASK)) {
		if (unmap_no_l2(img, guest, len, how, done, e))
			return -1;
		if (!(qcow2_l1_get(q, l1_ix) & QCOW2_HOST_MASK))
			return 0;
	} else if (qcow2_own_l2(img, guest, e)) {
		return -1;
	}
	slice = qcow2_l2_slice(img, guest, &ix, e);
	if (!slice)
		return -1;
	*done = len;
	rc = starts_in_part(img, guest, len)
		 ? unmap_part(img, slice, ix, guest, done, e)
		 : unmap_clusters(img, slice, ix, guest, how, done, e);
	tables_put(q->tables, slice);
	return rc;
}
