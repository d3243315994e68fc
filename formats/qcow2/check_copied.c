/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The COPIED flags of what the active L1 table maps, for check.h: they say that
 * a reference count is 1, so that a writer need not look.  A table with which
 * another structure shares its place is never written.
 */
#include <inttypes.h>

#include "check.h"

static uint64_t with_flag(uint64_t entry, uint64_t count)
{
	return (entry & ~QCOW2_COPIED) | (count == 1 ? QCOW2_COPIED : 0);
}

/* One wrong flag, in `times` places that the check counts.  Is it put right? */
static bool wrong(struct check *c, uint64_t times, bool may_write)
{
	if (c->fix_copied && may_write) {
		c->flags_n++;
		return true;
	}
	c->copied_n += times;
	c->out->corruptions += times;
	return false;
}

static int data_entry(struct check *c, struct check_l2 *t, uint32_t ix,
    struct qcow2_entry *n, struct err *e)
{
	uint64_t count = 1, entry = n->l2;
	int known = 1;

	if (!check_data_file(c))
		known = check_disk_count(
		    c, n->host >> c->q->h.cluster_bits, &count, e);
	if (known != 1 || entry == with_flag(entry, count))
		return known < 0 ? -1 : 0;
	n->l2 = with_flag(entry, count);
	if (wrong(c, t->active, check_l2_alone(c, t)))
		check_l2_put(c, t, ix, n);
	check_report(c,
	    "%s OFLAG_COPIED data cluster: l2_entry=%" PRIx64
	    " refcount=%" PRIu64,
	    c->fix_copied ? "Repairing" : "ERROR", entry, count);
	return 0;
}

static int data_entries(struct check *c, struct check_l2 *t, struct err *e)
{
	if (!t->host) /* the header: nobody takes it for a table here */
		return 0;
	for (uint32_t ix = 0; ix < c->q->l2_n; ix++) {
		struct qcow2_entry n;

		check_l2_get(c, t, ix, &n);
		if (n.l2 & QCOW2_PACKED)
			continue;
		if (!n.host && !(check_data_file(c) && n.l2 & QCOW2_COPIED))
			continue;
		if (data_entry(c, t, ix, &n, e))
			return -1;
	}
	return 0;
}

bool check_l1_alone(struct check *c, uint64_t ix)
{
	unsigned bits = c->q->h.cluster_bits;
	uint64_t cl = (c->q->h.l1_host + ix * 8) >> bits;

	return refmap_get(&c->structures, cl) == 1 &&
	       !refmap_get(&c->l2_all, (cl << bits) / CHECK_L2_UNIT);
}

static int l1_entry(
    struct check *c, uint64_t ix, uint64_t entry, uint64_t times, struct err *e)
{
	uint64_t host = entry & QCOW2_HOST_MASK, count = 0, want;
	int known = 0;

	if (host)
		known = check_disk_count(
		    c, host >> c->q->h.cluster_bits, &count, e);
	if (known != 1 || entry == with_flag(entry, count))
		return known < 0 ? -1 : 0;
	want = with_flag(entry, count);
	check_report(c,
	    "%s OFLAG_COPIED L2 cluster: l1_index=%" PRIu64 " l1_entry=%" PRIx64
	    " refcount=%" PRIu64,
	    c->fix_copied ? "Repairing" : "ERROR", ix, entry, count);
	return wrong(c, times, check_l1_alone(c, ix))
		   ? check_put(c, c->q->h.l1_host + ix * 8, want, e)
		   : 0;
}

int check_copied(struct check *c, struct err *e)
{
	const struct qcow2_header *h = &c->q->h;

	if (check_entries(c, h->l1_host, h->l1_n, 1, l1_entry, e))
		return -1;
	return check_each_l2(c, &c->l2_active, data_entries, e);
}
