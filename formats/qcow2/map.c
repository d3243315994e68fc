/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The mapping of qcow2: guest offset -> L1 entry -> L2 entry (and, with
 * extended L2 entries, 32 subclusters) -> host bytes.
 *
 * Specification: "Cluster mapping", "Extended L2 Entries".  Each entry is
 * checked before its offset is used.
 */
#include <errno.h>
#include <stdio.h>

#include "../core/maprun.h"
#include "qcow2.h"

uint64_t qcow2_l1_get(const struct qcow2 *q, uint64_t l1_ix)
{
	uint32_t per_slice = q->slice_len / 8;

	return be64(q->l1[l1_ix / per_slice]->data + l1_ix % per_slice * 8);
}

uint64_t qcow2_l2_span(const struct qcow2 *q)
{
	return (uint64_t)q->l2_n << q->h.cluster_bits;
}

/* Host offset of the L2 table of an L1 index; 0: none.  -1: damaged. */
static int l2_table_host(
    struct image *img, uint64_t l1_ix, uint64_t *host, struct err *e)
{
	const struct qcow2 *q = qcow2_of(img);
	uint64_t entry = qcow2_l1_get(q, l1_ix);

	*host = entry & QCOW2_HOST_MASK;
	if (entry & QCOW2_L1_RESERVED)
		return qcow2_bad_entry(img,
		    &(struct qcow2_bad){"L1 table", q->h.l1_host, l1_ix, entry},
		    "has reserved bits set", e);
	if (*host && !qcow2_cluster_ok(q, *host, q->cluster_len))
		return qcow2_bad_entry(img,
		    &(struct qcow2_bad){"L1 table", q->h.l1_host, l1_ix, entry},
		    "points to no cluster of the file", e);
	return 0;
}

struct table *qcow2_l2_slice(
    struct image *img, uint64_t guest, uint32_t *ix, struct err *e)
{
	const struct qcow2 *q = qcow2_of(img);
	uint64_t l1_ix = guest / qcow2_l2_span(q), host;
	uint32_t per_slice = q->slice_len / q->l2_entry_len;
	uint32_t l2_ix = (guest >> q->h.cluster_bits) % q->l2_n;

	if (l2_table_host(img, l1_ix, &host, e) || !host)
		return NULL;
	*ix = l2_ix % per_slice;
	host += (uint64_t)(l2_ix / per_slice) * q->slice_len;
	return tables_get(q->tables, host, q->slice_len, TABLE_MAP, e);
}

void qcow2_packed_place(
    const struct qcow2 *q, uint64_t entry, uint64_t *host, uint32_t *stored)
{
	unsigned host_bits = 62 - (q->h.cluster_bits - 8);
	uint64_t sectors_mask = (1ull << (62 - host_bits)) - 1;
	uint64_t sectors = (entry >> host_bits & sectors_mask) + 1;

	*host = entry & ((1ull << host_bits) - 1);
	*stored = sectors * SECTOR_LEN - *host % SECTOR_LEN;
}

/* ---- one entry ---------------------------------------------------------- */

void qcow2_entry_get(const struct qcow2 *q, const struct table *slice,
    uint32_t ix, struct qcow2_entry *out)
{
	const uint8_t *p = slice->data + (size_t)ix * q->l2_entry_len;

	out->l2 = be64(p);
	out->sub = q->sub_n > 1 ? be64(p + 8) : 0;
	out->host = out->l2 & QCOW2_HOST_MASK;
}

enum qcow2_sub qcow2_sub_kind(
    const struct qcow2 *q, const struct qcow2_entry *n, unsigned sub_ix)
{
	bool allocated, zero;

	if (n->l2 & QCOW2_PACKED)
		return QCOW2_SUB_PACKED;
	if (q->sub_n == 1) {
		allocated = n->host || (n->l2 & QCOW2_COPIED);
		zero = n->l2 & QCOW2_ZERO;
		return zero	   ? QCOW2_SUB_ZERO
		       : allocated ? QCOW2_SUB_DATA
				   : QCOW2_SUB_HOLE;
	}
	allocated = n->sub >> sub_ix & 1;
	zero = n->sub >> (32 + sub_ix) & 1;
	if (zero)
		return allocated ? QCOW2_SUB_BAD : QCOW2_SUB_ZERO;
	return allocated ? QCOW2_SUB_DATA : QCOW2_SUB_HOLE;
}

bool qcow2_owns_space(const struct qcow2 *q, const struct qcow2_entry *n)
{
	if (n->l2 & QCOW2_PACKED)
		return false;
	return n->host || ((q->h.incompatible & QCOW2_I_DATA_FILE) &&
			      (n->l2 & QCOW2_COPIED));
}

/* What is wrong with the entry, or NULL. */
const char *qcow2_entry_fault(
    const struct qcow2 *q, const struct qcow2_entry *n, uint64_t guest)
{
	uint64_t reserved = QCOW2_L2_RESERVED;

	if (n->l2 & QCOW2_PACKED) {
		uint64_t host;
		uint32_t stored;

		if (q->h.incompatible & QCOW2_I_DATA_FILE)
			return "is compressed, with an external data file";
		qcow2_packed_place(q, n->l2, &host, &stored);
		return host < q->end ? NULL : "points past the end of the file";
	}
	if (q->h.version < 3 || q->sub_n > 1)
		reserved |= QCOW2_ZERO;
	if (n->l2 & reserved)
		return "has reserved bits set";
	if (!is_aligned(n->host, q->cluster_len))
		return "is not aligned to a cluster";
	if (q->h.incompatible & QCOW2_I_DATA_FILE) {
		if (qcow2_owns_space(q, n) &&
		    n->host != round_down(guest, q->cluster_len))
			return "differs from its place in the data file";
		return NULL;
	}
	if (n->host && n->host >= q->end)
		return "points past the end of the file";
	return NULL;
}

static int bad_l2(struct image *img, const struct qcow2_entry *n,
    uint64_t guest, const char *why, struct err *e)
{
	const struct qcow2 *q = qcow2_of(img);
	char bits[48] = "";

	if (q->sub_n > 1)
		snprintf(bits, sizeof bits, " with subclusters %#llx",
		    (unsigned long long)n->sub);
	return err_set(e, ERR_DAMAGED, EIO,
	    "%s: L2 table entry of guest offset %llu %s: it is %#llx%s, the "
	    "file has %llu bytes in clusters of %u",
	    img->name, (unsigned long long)guest, why,
	    (unsigned long long)n->l2, bits,
	    (unsigned long long)host_size(img->file), q->cluster_len);
}

int qcow2_entry_check(struct image *img, const struct qcow2_entry *n,
    uint64_t guest, struct err *e)
{
	const char *fault = qcow2_entry_fault(qcow2_of(img), n, guest);

	return fault ? bad_l2(img, n, guest, fault, e) : 0;
}

/* ---- map ---------------------------------------------------------------- */

static void from_packed(const struct qcow2 *q, const struct qcow2_entry *n,
    uint64_t guest, struct extent *x)
{
	x->kind = EXT_PACKED;
	qcow2_packed_place(q, n->l2, &x->host, &x->packed.stored);
	x->packed.unit = round_down(guest, q->cluster_len);
	x->packed.unit_len = q->cluster_len;
	x->packed.codec = q->codec;
}

/* The part of one cluster from `guest` on that is of one kind. */
static int map_cluster(struct image *img, const struct qcow2_entry *n,
    uint64_t guest, struct extent *x, struct err *e)
{
	const struct qcow2 *q = qcow2_of(img);
	uint32_t in_cl = guest & (q->cluster_len - 1);
	unsigned i = in_cl / q->sub_len;
	enum qcow2_sub kind = qcow2_sub_kind(q, n, i);

	if (qcow2_entry_check(img, n, guest, e))
		return -1;
	if (kind == QCOW2_SUB_BAD)
		return bad_l2(
		    img, n, guest, "has contradicting subcluster bits", e);
	*x = (struct extent){.guest = guest, .file = q->data};
	if (kind == QCOW2_SUB_PACKED) {
		x->len = q->cluster_len - in_cl;
		from_packed(q, n, guest, x);
		return 0;
	}
	while (i < q->sub_n && qcow2_sub_kind(q, n, i) == kind)
		i++;
	x->len = (uint64_t)i * q->sub_len - in_cl;
	x->host = n->host + in_cl;
	if (kind == QCOW2_SUB_DATA) {
		x->kind = EXT_DATA;
		if (!qcow2_owns_space(q, n))
			return bad_l2(
			    img, n, guest, "has data but no host cluster", e);
		x->flags = n->l2 & QCOW2_COPIED ? 0 : EXT_F_SHARED;
		x->flags |= img->cipher ? EXT_F_CRYPT : 0;
	} else if (kind == QCOW2_SUB_ZERO) {
		x->kind = EXT_ZERO;
		x->flags = qcow2_owns_space(q, n) ? EXT_F_SPACE : 0;
	} else {
		x->kind = EXT_HOLE;
		x->flags = qcow2_owns_space(q, n) ? EXT_F_SPACE : 0;
	}
	return 0;
}

/* No L2 table: nothing up to the next one. */
static int map_no_l2(struct image *img, uint64_t guest, uint64_t len,
    struct extent *x, struct err *e)
{
	const struct qcow2 *q = qcow2_of(img);
	uint64_t span = qcow2_l2_span(q), end = round_down(guest, span) + span;

	while (end < guest + len && end / span < q->h.l1_n) {
		uint64_t host;

		if (l2_table_host(img, end / span, &host, e))
			return -1;
		if (host)
			break;
		end += span;
	}
	x->kind = EXT_HOLE;
	x->len = end / span < q->h.l1_n ? min_u64(len, end - guest) : len;
	return 0;
}

/* I4: on a writable image, does data lie where metadata is? */
static void flag_metadata(const struct qcow2 *q, struct extent *x)
{
	uint64_t first = x->host >> q->h.cluster_bits;
	uint64_t last = (x->host + x->len - 1) >> q->h.cluster_bits;

	if (x->file == q->data && q->h.incompatible & QCOW2_I_DATA_FILE)
		return;
	if ((x->kind == EXT_DATA || (x->flags & EXT_F_SPACE)) &&
	    clusterset_any(&q->meta, first, last - first + 1))
		x->flags |= EXT_F_META;
}

/* Does entry b map, in the same way, the cluster that follows a's? */
static bool plain_step(const struct qcow2 *q, const struct qcow2_entry *a,
    const struct qcow2_entry *b)
{
	if (q->sub_n > 1)
		return false;
	if (!a->l2)
		return !b->l2;
	return a->host && b->l2 == a->l2 + q->cluster_len &&
	       b->host + q->cluster_len <= q->end;
}

/* From entry ix, that of `guest`, on: as far as it is of one kind. */
static int map_slice(struct image *img, const struct table *slice, uint32_t ix,
    uint64_t guest, uint64_t len, struct extent *x, struct err *e)
{
	const struct qcow2 *q = qcow2_of(img);
	uint32_t per_slice = q->slice_len / q->l2_entry_len;
	struct qcow2_entry n, next_n;
	struct extent next;
	struct err neighbour; /* a damaged one is the next caller's business */

	qcow2_entry_get(q, slice, ix, &n);
	if (map_cluster(img, &n, guest, x, e))
		return -1;
	/* Where it ends inside a cluster, another kind follows. */
	while (x->kind != EXT_PACKED && x->len < len &&
	       is_aligned(guest + x->len, q->cluster_len) && ++ix < per_slice) {
		qcow2_entry_get(q, slice, ix, &next_n);
		neighbour.kind = ERR_NONE;
		next.len = q->cluster_len;
		if (!plain_step(q, &n, &next_n) &&
		    (map_cluster(
			 img, &next_n, guest + x->len, &next, &neighbour) ||
			!extent_goes_on(x, &next)))
			break;
		x->len += next.len;
		n = next_n;
	}
	x->len = min_u64(x->len, len);
	return 0;
}

int qcow2_map(struct image *img, uint64_t guest, uint64_t len, struct extent *x,
    struct err *e)
{
	const struct qcow2 *q = qcow2_of(img);
	struct table *slice;
	uint32_t ix;
	int rc;

	if (!q->l1 || !q->data)
		return err_usage(
		    e, "%s: opened for its metadata alone", img->name);
	if (guest / qcow2_l2_span(q) >= q->h.l1_n) {
		x->kind = EXT_HOLE;
		x->len = len;
		return 0;
	}
	slice = qcow2_l2_slice(img, guest, &ix, e);
	if (!slice)
		return err_is_set(e) ? -1 : map_no_l2(img, guest, len, x, e);
	rc = map_slice(img, slice, ix, guest, len, x, e);
	tables_put(q->tables, slice);
	if (!rc)
		flag_metadata(q, x);
	return rc;
}
