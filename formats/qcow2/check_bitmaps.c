/* SPDX-License-Identifier: BSD-3-Clause */
/* The persistent bitmaps, for check.h. */
#include <inttypes.h>

#include "check.h"

#define ALL_DIRTY 1u /* where there is no cluster */

static bool valid(const struct check *c, uint64_t entry)
{
	uint64_t host = entry & QCOW2_HOST_MASK;

	return !(entry & ~(QCOW2_HOST_MASK | ALL_DIRTY)) &&
	       !(host && entry & ALL_DIRTY) &&
	       is_aligned(host, c->q->cluster_len);
}

static int count_entry(
    struct check *c, uint64_t ix, uint64_t entry, uint64_t times, struct err *e)
{
	uint64_t host = entry & QCOW2_HOST_MASK;

	(void)ix;
	if (!valid(c, entry)) {
		check_corrupt(c, times,
		    "ERROR bitmap table entry %" PRIx64 " is not valid", entry);
		return 0;
	}
	return host ? check_count(c, host, c->q->cluster_len, times, e) : 0;
}

static int mend_entry(
    struct check *c, uint64_t ix, uint64_t entry, uint64_t times, struct err *e)
{
	uint64_t at = c->entries_host + ix * 8;
	uint64_t cl = at >> c->q->h.cluster_bits;
	uint64_t host = entry & QCOW2_HOST_MASK;

	/* Two bitmaps may share a table, but nothing else may. */
	if ((valid(c, entry) && host < c->file_len) ||
	    refmap_get(&c->structures, cl) != times ||
	    refmap_get(&c->refs, cl) != times)
		return 0;
	check_report(c, "Repairing bitmap table entry %" PRIx64, entry);
	return check_put(c, at, ALL_DIRTY, e);
}

static int count_entries(
    void *arg, uint64_t start, uint64_t end, uint64_t times, struct err *e)
{
	return check_entries(
	    arg, start, (end - start) / 8, times, count_entry, e);
}

static int mend_entries(
    void *arg, uint64_t start, uint64_t end, uint64_t times, struct err *e)
{
	return check_entries(
	    arg, start, (end - start) / 8, times, mend_entry, e);
}

static int table_clusters(
    void *arg, uint64_t start, uint64_t end, uint64_t times, struct err *e)
{
	return check_count(arg, start, end - start, times, e);
}

/* The tables: their entries, and the clusters that they take. */
static int table_spans(const struct check *c,
    const struct qcow2_bitmap_list *list, struct spans *entries,
    struct spans *clusters, struct err *e)
{
	for (size_t i = 0; i < list->n; i++) {
		uint64_t start = list->item[i].table_host;
		uint64_t end = start + list->item[i].table_n * 8ull;

		if (spans_add(entries, start, end, e) ||
		    spans_add(
			clusters, start, round_up(end, c->q->cluster_len), e))
			return -1;
	}
	return 0;
}

static int each_bitmap(struct check *c, const struct qcow2_bitmap_list *list,
    bool mend, struct err *e)
{
	struct spans entries = {0}, clusters = {0};
	int rc = table_spans(c, list, &entries, &clusters, e);

	if (!rc && !mend)
		rc = spans_walk(&clusters, table_clusters, c, e);
	if (!rc)
		rc = spans_walk(
		    &entries, mend ? mend_entries : count_entries, c, e);
	spans_destroy(&entries);
	spans_destroy(&clusters);
	return rc;
}

int check_mend_bitmaps(struct check *c, struct err *e)
{
	struct qcow2_bitmap_list list;
	int rc;

	if (!c->q->h.bitmaps.present)
		return 0;
	if (qcow2_bitmaps_read(c->img, &list, e))
		return -1;
	rc = each_bitmap(c, &list, true, e);
	qcow2_bitmaps_clear(&list);
	return rc;
}

int check_bitmaps(struct check *c, struct err *e)
{
	const struct qcow2_header *h = &c->q->h;
	struct qcow2_bitmap_list list;
	struct err bad = ERR_INIT;
	int rc;

	if (!h->bitmaps.present)
		return 0;
	if (check_count(c, h->bitmaps.dir_host, h->bitmaps.dir_len, 1, e))
		return -1;
	if (!qcow2_bitmaps_read(c->img, &list, &bad)) {
		rc = each_bitmap(c, &list, false, e);
		qcow2_bitmaps_clear(&list);
		return rc;
	}
	if (bad.kind != ERR_DAMAGED) {
		*e = bad;
		return -1;
	}
	check_corrupt(c, 1, "ERROR %s", bad.msg);
	c->unknown = true;
	return 0;
}
