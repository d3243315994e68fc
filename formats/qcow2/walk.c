/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Walking a qcow2 image: every structure and every extent of guest data in the
 * file, with its owner.
 *
 * What the active L1 table maps is reported as it is, so space with two owners
 * shows up twice.  Of the snapshots only what nobody before them has reported:
 * sharing clusters is their nature.  Packed data is reported in the whole
 * sectors that the format counts, so neighbours overlap in a sector.
 */
#include <stdio.h>

#include "check.h"

struct walk {
	struct check c; /* for reading */
	struct walker *w;
	struct refmap seen;   /* clusters reported for an L1 table */
	bool only_new;	      /* pass by what was seen: snapshots */
	struct walk_extent x; /* guest data that may go on; len 0: none */
	uint8_t *l2;	      /* one table */
};

static struct walk *walk_of(struct check *c)
{
	return (struct walk *)((uint8_t *)c - offsetof(struct walk, c));
}

static int emit(struct walk *k, enum meta_kind kind, const char *owner,
    uint64_t host, uint64_t len, struct err *e)
{
	const struct walk_extent x = {.host = host,
	    .len = len,
	    .kind = kind,
	    .owner = owner,
	    .guest = UINT64_MAX};

	return len ? k->w->extent(k->w, &x, e) : 0;
}

static int emit_data(struct walk *k, struct err *e)
{
	struct walk_extent x = k->x;

	k->x.len = 0;
	return x.len ? k->w->extent(k->w, &x, e) : 0;
}

/* 1 this is new, 0 it was reported before (and that settles it). */
static int first_time(struct walk *k, uint64_t host, struct err *e)
{
	uint64_t cl = host >> k->c.q->h.cluster_bits;

	if (k->only_new && refmap_get(&k->seen, cl))
		return 0;
	return refmap_set(&k->seen, cl, 1, e) ? -1 : 1;
}

/* ---- guest data ---------------------------------------------------------- */

static int data_cluster(
    struct walk *k, uint64_t host, uint64_t guest, struct err *e)
{
	uint32_t len = k->c.q->cluster_len;
	int is_new = first_time(k, host, e);

	if (is_new <= 0)
		return is_new;
	if (k->x.len && k->x.host + k->x.len == host &&
	    k->x.guest + k->x.len == guest) {
		k->x.len += len;
		return 0;
	}
	if (emit_data(k, e))
		return -1;
	k->x = (struct walk_extent){.host = host,
	    .len = len,
	    .kind = META_DATA,
	    .owner = "guest data",
	    .guest = guest};
	return 0;
}

static int packed_unit(
    struct walk *k, uint64_t entry, uint64_t guest, struct err *e)
{
	struct walk_extent x = {
	    .kind = META_PACKED, .owner = "packed guest data", .guest = guest};
	uint32_t stored;
	uint64_t host;

	qcow2_packed_place(k->c.q, entry, &host, &stored);
	if (k->only_new && refmap_get(&k->seen, host >> k->c.q->h.cluster_bits))
		return 0;
	if (refmap_set(&k->seen, host >> k->c.q->h.cluster_bits, 1, e) ||
	    refmap_set(
		&k->seen, (host + stored - 1) >> k->c.q->h.cluster_bits, 1, e))
		return -1;
	x.host = host;
	x.len = stored;
	return k->w->extent(k->w, &x, e);
}

static int l2_table(
    struct walk *k, uint64_t host, uint64_t l1_ix, struct err *e)
{
	const struct qcow2 *q = k->c.q;

	if (check_read(&k->c, k->l2, q->cluster_len, host, e))
		return -1;
	for (uint32_t ix = 0; ix < q->l2_n; ix++) {
		uint64_t entry = be64(k->l2 + (size_t)ix * q->l2_entry_len);
		uint64_t guest = (l1_ix * q->l2_n + ix) << q->h.cluster_bits;
		uint64_t at = entry & QCOW2_HOST_MASK;

		if (entry & QCOW2_PACKED) {
			if (packed_unit(k, entry, guest, e))
				return -1;
		} else if (at && data_cluster(k, at, guest, e)) {
			return -1;
		}
	}
	return emit_data(k, e);
}

static int l1_entry(
    struct check *c, uint64_t ix, uint64_t entry, uint64_t times, struct err *e)
{
	struct walk *k = walk_of(c);
	uint64_t host = entry & QCOW2_HOST_MASK;
	char owner[64];
	int is_new;

	(void)times;
	if (!host)
		return 0;
	is_new = first_time(k, host, e);
	if (is_new <= 0)
		return is_new;
	snprintf(owner, sizeof owner, "L2 table %llu", (unsigned long long)ix);
	if (emit(k, META_TABLE, owner, host, c->q->cluster_len, e))
		return -1;
	/* The data file is another file, whose space nobody counts. */
	if (c->q->h.incompatible & QCOW2_I_DATA_FILE)
		return 0;
	return l2_table(k, host, ix, e);
}

/* ---- structures ---------------------------------------------------------- */

static int saved_l1(
    struct walk *k, const struct qcow2_snapshot *s, struct err *e)
{
	int is_new;

	if (!s->l1_n)
		return 0;
	is_new = first_time(k, s->l1_host, e);
	if (is_new <= 0)
		return is_new;
	if (emit(k, META_TABLE, "L1 table of a snapshot", s->l1_host,
		s->l1_n * 8ull, e))
		return -1;
	return check_entries(&k->c, s->l1_host, s->l1_n, 1, l1_entry, e);
}

static int snapshots(struct walk *k, struct err *e)
{
	struct qcow2_snapshot_table t;
	int rc;

	if (qcow2_snapshots_read(k->c.img, &t, e))
		return -1;
	k->only_new = true;
	rc = emit(k, META_SNAPSHOT, "snapshot table", k->c.q->h.snapshot_host,
	    t.len, e);
	for (size_t i = 0; i < t.n && !rc; i++) {
		const struct qcow2_snapshot *s = &t.item[i];

		rc = qcow2_snapshot_l1_check(k->c.img, s, s->vm.disk_size, e);
		if (!rc)
			rc = saved_l1(k, s, e);
	}
	qcow2_snapshots_clear(&t);
	return rc;
}

static int block_entry(
    struct check *c, uint64_t ix, uint64_t entry, uint64_t times, struct err *e)
{
	char owner[64];

	(void)times;
	snprintf(
	    owner, sizeof owner, "refcount block %llu", (unsigned long long)ix);
	return emit(walk_of(c), META_COUNT, owner,
	    entry & ~QCOW2_REFTABLE_RESERVED, c->q->cluster_len, e);
}

static int bitmap_entry(
    struct check *c, uint64_t ix, uint64_t entry, uint64_t times, struct err *e)
{
	uint64_t host = entry & QCOW2_HOST_MASK;

	(void)ix, (void)times;
	return host ? emit(walk_of(c), META_BITMAP, "bitmap data", host,
			  c->q->cluster_len, e)
		    : 0;
}

static int bitmaps(struct walk *k, struct err *e)
{
	const struct qcow2_header *h = &k->c.q->h;
	struct qcow2_bitmap_list list;
	int rc;

	if (!h->bitmaps.present)
		return 0;
	if (qcow2_bitmaps_read(k->c.img, &list, e))
		return -1;
	rc = emit(k, META_BITMAP, "bitmap directory", h->bitmaps.dir_host,
	    h->bitmaps.dir_len, e);
	for (size_t i = 0; i < list.n && !rc; i++) {
		const struct qcow2_bitmap *b = &list.item[i];

		rc = emit(k, META_BITMAP, "bitmap table", b->table_host,
		    b->table_n * 8ull, e);
		if (!rc)
			rc = check_entries(&k->c, b->table_host, b->table_n, 1,
			    bitmap_entry, e);
	}
	qcow2_bitmaps_clear(&list);
	return rc;
}

static int walk(struct walk *k, struct err *e)
{
	const struct qcow2_header *h = &k->c.q->h;
	uint64_t reftable_len = (uint64_t)h->reftable_cl << h->cluster_bits;

	if (emit(k, META_HEADER, "header", 0, k->c.q->cluster_len, e) ||
	    emit(k, META_COUNT, "refcount table", h->reftable_host,
		reftable_len, e) ||
	    check_entries(
		&k->c, h->reftable_host, reftable_len / 8, 1, block_entry, e) ||
	    emit(k, META_OTHER, "encryption header", h->crypt.host,
		h->crypt.len, e) ||
	    emit(k, META_TABLE, "L1 table", h->l1_host, h->l1_n * 8ull, e) ||
	    check_entries(&k->c, h->l1_host, h->l1_n, 1, l1_entry, e))
		return -1;
	return snapshots(k, e) || bitmaps(k, e) ? -1 : 0;
}

int qcow2_walk(struct image *img, struct walker *w, struct err *e)
{
	struct walk k = {.c = {.img = img, .q = qcow2_of(img)}, .w = w};
	int rc;

	if (check_settle(img, e))
		return -1;
	k.c.file_len = host_size(img->file);
	k.l2 = malloc(k.c.q->cluster_len);
	rc = k.l2 ? walk(&k, e) : err_nomem(e);
	free(k.l2);
	refmap_destroy(&k.seen);
	return rc;
}
