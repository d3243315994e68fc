/* SPDX-License-Identifier: BSD-3-Clause */
/* Reference counts put right in their place, for repair.h. */
#include <inttypes.h>

#include "refbits.h"
#include "repair.h"

/* What the count of a cluster should be, which is from now on the references
 * that are known of: a count that is too narrow stays too low. */
static int wanted(struct check *c, uint64_t cl, uint64_t *refs, struct err *e)
{
	uint64_t max = check_count_max(c);

	*refs = refmap_get(&c->refs, cl);
	if (*refs <= max)
		return 0;
	*refs = max;
	return refmap_set(&c->refs, cl, max, e);
}

/* 1 the block changed. */
static int fix_block(
    struct check *c, uint8_t *block, uint64_t ix, bool raise, struct err *e)
{
	uint64_t first = ix * c->q->refblock_n;
	uint64_t n = min_u64(c->q->refblock_n, c->cl_n - first);
	unsigned order = c->q->h.refcount_order;
	int changed = 0;

	for (uint64_t i = 0; i < n; i++) {
		uint64_t disk = refbits_get(block, order, i), refs;

		if (wanted(c, first + i, &refs, e))
			return -1;
		if (raise ? disk >= refs : disk <= refs)
			continue;
		check_report(c,
		    "Repairing cluster %" PRIu64 " refcount=%" PRIu64
		    " reference=%" PRIu64,
		    first + i, disk, refs);
		refbits_put(block, order, i, refs);
		changed = 1;
	}
	return changed;
}

int repair_counts(struct check *c, bool raise, struct err *e)
{
	uint64_t blocks =
	    min_u64(c->reftable_n, div_up(c->cl_n, c->q->refblock_n));
	CLEANUP_FREE uint8_t *block = malloc(c->q->cluster_len);

	if (!block)
		return err_nomem(e);
	for (uint64_t ix = 0; ix < blocks; ix++) {
		uint64_t host = check_block_entry(c, ix);
		int rc;

		if (!host)
			continue;
		if (check_read(c, block, c->q->cluster_len, host, e))
			return -1;
		rc = fix_block(c, block, ix, raise, e);
		if (rc == 1)
			rc = host_pwrite(
			    c->img->file, block, c->q->cluster_len, host, e);
		if (rc)
			return -1;
	}
	return host_sync(c->img->file, e);
}

int repair_add_counts(struct check *c, struct refmap *m, struct err *e)
{
	unsigned bits = c->q->h.cluster_bits;
	uint64_t table_cl = c->q->h.reftable_host >> bits;

	for (uint64_t i = 0; i < c->q->h.reftable_cl; i++)
		if (refmap_set(m, table_cl + i, 1, e))
			return -1;
	for (uint64_t ix = 0; ix < c->reftable_n; ix++) {
		uint64_t cl = check_block_entry(c, ix) >> bits;

		if (cl && cl < c->cl_n && refmap_set(m, cl, 1, e))
			return -1;
	}
	return 0;
}
