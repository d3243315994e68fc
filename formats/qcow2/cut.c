/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Cutting off the end of a disk: see resize.h.
 *
 * Entries past the end become empty, also those that say "zeroes": a disk that
 * grows again begins with nothing there.  L2 tables that map nothing else go
 * with them.
 */
#include "../core/drv.h"
#include "../core/request.h"
#include "../core/write.h"
#include "resize.h"

/* The bytes behind the new end in its own cluster. */
static int clean_tail(struct image *img, uint64_t size, struct err *e)
{
	uint64_t end = round_up(size, qcow2_of(img)->cluster_len);
	struct extent x;
	int rc;

	end = min_u64(end, img_size(img));
	for (uint64_t guest = size; guest < end; guest += x.len) {
		rwlock_shared(&img->meta);
		rc = drv_map(img, guest, end - guest, &x, e);
		rwlock_shared_end(&img->meta);
		if (rc)
			return -1;
		if ((x.kind == EXT_DATA || x.kind == EXT_PACKED) &&
		    zero_range(img, x.len, guest, 0, e))
			return -1;
	}
	return 0;
}

/* ---- entries ------------------------------------------------------------- */

/* Entries [ix, n) of a slice; `keep`: the table stays, without them. */
static int retire_entries(struct image *img, struct table *slice, uint32_t ix,
    uint32_t n, bool keep, struct err *e)
{
	struct qcow2 *q = qcow2_of(img);

	if (keep && tables_change(q->tables, slice, e))
		return -1;
	for (; ix < n; ix++) {
		static const struct qcow2_entry empty;
		struct qcow2_entry x;

		qcow2_entry_get(q, slice, ix, &x);
		if (!x.l2 && !x.sub)
			continue;
		if (qcow2_retire_entry(img, &x, true, e))
			return -1;
		if (keep)
			qcow2_entry_put(q, slice, ix, &empty);
	}
	return 0;
}

/* Entries from l2_ix on of the table at `host`. */
static int retire_table(
    struct image *img, uint64_t host, uint32_t l2_ix, bool keep, struct err *e)
{
	struct qcow2 *q = qcow2_of(img);
	uint32_t n = q->slice_len / q->l2_entry_len;

	for (uint32_t first = 0; first < q->l2_n; first += n) {
		struct table *slice;
		int rc;

		if (first + n <= l2_ix)
			continue;
		slice = tables_get(q->tables,
		    host + (uint64_t)first * q->l2_entry_len, q->slice_len,
		    TABLE_MAP, e);
		if (!slice)
			return -1;
		rc = retire_entries(
		    img, slice, l2_ix > first ? l2_ix - first : 0, n, keep, e);
		tables_put(q->tables, slice);
		if (rc)
			return -1;
	}
	return 0;
}

/* What L1 entry l1_ix maps from guest on; all of it: the table goes too. */
static int cut_l2(
    struct image *img, uint64_t l1_ix, uint64_t guest, struct err *e)
{
	struct qcow2 *q = qcow2_of(img);
	uint32_t l2_ix = (guest >> q->h.cluster_bits) % q->l2_n;
	uint64_t host = qcow2_l1_get(q, l1_ix) & QCOW2_HOST_MASK;

	if (!host)
		return 0;
	if (!qcow2_cluster_ok(q, host, q->cluster_len))
		return qcow2_bad_entry(img,
		    &(struct qcow2_bad){"L1 table", q->h.l1_host, l1_ix, host},
		    "points to no cluster of the file", e);
	if (!l2_ix)
		return retire_table(img, host, 0, false, e) ||
			       qcow2_l1_set(img, l1_ix, 0, e) ||
			       qcow2_retire_l2(img, host, e)
			   ? -1
			   : 0;
	if (qcow2_own_l2(img, guest, e))
		return -1;
	host = qcow2_l1_get(q, l1_ix) & QCOW2_HOST_MASK;
	return retire_table(img, host, l2_ix, true, e);
}

int qcow2_cut(struct image *img, uint64_t size, struct err *e)
{
	struct qcow2 *q = qcow2_of(img);
	uint64_t guest = round_up(size, q->cluster_len);
	uint64_t span = qcow2_l2_span(q);

	if (clean_tail(img, size, e))
		return -1;
	for (uint64_t ix = guest / span; ix < q->h.l1_n; ix++) {
		int rc;

		rwlock_excl(&img->meta);
		rc = cut_l2(img, ix, guest, e);
		rwlock_excl_end(&img->meta);
		if (rc)
			return image_fail(img, e);
		if (image_commit_due(img) && image_commit(img, e))
			return -1;
		guest = (ix + 1) * span;
	}
	return 0;
}
