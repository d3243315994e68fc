/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Entries of tables that can be put right without the counts, for repair.h.
 * What the guest reads does not change: bits that have no meaning go, and so
 * does space behind zeroes that is not a cluster.
 */
#include <inttypes.h>

#include "repair.h"

static struct qcow2_entry mended(
    const struct check *c, const struct qcow2_entry *n)
{
	struct qcow2_entry m = *n;

	if (n->l2 & QCOW2_PACKED) {
		m.l2 &= ~QCOW2_COPIED;
		m.sub = 0;
		return m;
	}
	m.l2 &= ~QCOW2_L2_RESERVED;
	if (is_aligned(n->host, c->q->cluster_len) || check_shows_data(c, n))
		return m;
	m.l2 = c->q->sub_n > 1 ? 0 : QCOW2_ZERO;
	return m;
}

/*
 * What something else refers to as well may be that something, and only called
 * a table by a damaged entry: then nothing in it is changed.
 */
static int mend_table(struct check *c, struct check_l2 *t, struct err *e)
{
	uint64_t cl = t->host >> c->q->h.cluster_bits;

	(void)e;
	if (!check_l2_alone(c, t) || refmap_get(&c->refs, cl) != t->times)
		return 0;
	for (uint32_t ix = 0; ix < c->q->l2_n; ix++) {
		struct qcow2_entry n, m;

		check_l2_get(c, t, ix, &n);
		m = mended(c, &n);
		if (m.l2 == n.l2 && m.sub == n.sub)
			continue;
		check_report(c,
		    "Repairing L2 entry %" PRIu32 " of the table at %#" PRIx64
		    ": l2_entry=%" PRIx64,
		    ix, t->host, n.l2);
		check_l2_put(c, t, ix, &m);
	}
	return 0;
}

static int mend_l1_entry(
    struct check *c, uint64_t ix, uint64_t entry, uint64_t times, struct err *e)
{
	(void)times;
	if (!(entry & QCOW2_L1_RESERVED) || !check_l1_alone(c, ix))
		return 0;
	check_report(
	    c, "Repairing L1 entry %" PRIu64 ": l1_entry=%" PRIx64, ix, entry);
	return check_put(
	    c, c->q->h.l1_host + ix * 8, entry & ~QCOW2_L1_RESERVED, e);
}

int repair_entries(struct check *c, struct err *e)
{
	const struct qcow2_header *h = &c->q->h;

	if (repair_add_counts(c, &c->structures, e) ||
	    check_entries(c, h->l1_host, h->l1_n, 1, mend_l1_entry, e) ||
	    check_each_l2(c, &c->l2_all, mend_table, e) ||
	    check_mend_bitmaps(c, e))
		return -1;
	return host_sync(c->img->file, e);
}
