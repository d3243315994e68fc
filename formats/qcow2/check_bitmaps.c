/* SPDX-License-Identifier: BSD-3-Clause */
/* The persistent bitmaps, for check.h. */
#include <inttypes.h>

#include "check.h"

static int table_entry(
    struct check *c, uint64_t ix, uint64_t entry, uint64_t times, struct err *e)
{
	uint64_t host = entry & QCOW2_HOST_MASK;

	(void)ix;
	/* Bit 0 says "all ones" where there is no cluster. */
	if (entry & ~(QCOW2_HOST_MASK | 1) || (host && entry & 1) ||
	    !is_aligned(host, c->q->cluster_len)) {
		check_corrupt(c, times,
		    "ERROR bitmap table entry %" PRIx64 " is not valid", entry);
		return 0;
	}
	return host ? check_count(c, host, c->q->cluster_len, times, e) : 0;
}

static int table_entries(
    void *arg, uint64_t start, uint64_t end, uint64_t times, struct err *e)
{
	return check_entries(
	    arg, start, (end - start) / 8, times, table_entry, e);
}

static int table_clusters(
    void *arg, uint64_t start, uint64_t end, uint64_t times, struct err *e)
{
	return check_count(arg, start, end - start, times, e);
}

static int each_bitmap(
    struct check *c, const struct qcow2_bitmap_list *list, struct err *e)
{
	struct spans entries = {0}, clusters = {0};
	int rc = 0;

	for (size_t i = 0; i < list->n && !rc; i++) {
		uint64_t start = list->item[i].table_host;
		uint64_t end = start + list->item[i].table_n * 8ull;

		rc = spans_add(&entries, start, end, e) ||
			     spans_add(&clusters, start,
				 round_up(end, c->q->cluster_len), e)
			 ? -1
			 : 0;
	}
	if (!rc)
		rc = spans_walk(&clusters, table_clusters, c, e);
	if (!rc)
		rc = spans_walk(&entries, table_entries, c, e);
	spans_destroy(&entries);
	spans_destroy(&clusters);
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
		rc = each_bitmap(c, &list, e);
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
