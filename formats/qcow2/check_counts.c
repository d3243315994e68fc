/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The reference counts in the file against those that were found, for check.h.
 */
#include <inttypes.h>

#include "check.h"
#include "refbits.h"

/* Of the block that counts a cluster. */
static uint64_t block_ix_of(const struct check *c, uint64_t cl)
{
	return cl >> (c->q->h.cluster_bits + 3 - c->q->h.refcount_order);
}

uint64_t check_block_entry(const struct check *c, uint64_t block_ix)
{
	return block_ix < c->reftable_n ? be64(c->reftable + block_ix * 8) : 0;
}

static uint64_t block_host(const struct check *c, uint64_t block_ix)
{
	return check_block_entry(c, block_ix) & ~QCOW2_REFTABLE_RESERVED;
}

/* Can the block be read? */
static bool block_ok(const struct check *c, uint64_t block_ix)
{
	uint64_t host = block_host(c, block_ix);

	return is_aligned(host, c->q->cluster_len) && host <= INT64_MAX;
}

uint64_t check_count_max(const struct check *c)
{
	unsigned bits = 1u << c->q->h.refcount_order;

	return bits == 64 ? UINT64_MAX : (1ull << bits) - 1;
}

/* ---- the blocks as structures -------------------------------------------- */

static int check_block(struct check *c, uint64_t ix, struct err *e)
{
	uint64_t host = block_host(c, ix), refs;
	bool rebuild = c->rebuild;

	c->rebuild = true; /* unless nothing is found */

	if (check_block_entry(c, ix) & QCOW2_REFTABLE_RESERVED) {
		check_corrupt(c, 1,
		    "ERROR refcount table entry %" PRIu64
		    " has reserved bits set",
		    ix);
		return 0;
	}
	if (!is_aligned(host, c->q->cluster_len)) {
		check_corrupt(c, 1,
		    "ERROR refcount block %" PRIu64 " is not cluster aligned; "
		    "refcount table entry corrupted",
		    ix);
		return 0;
	}
	if (host >> c->q->h.cluster_bits >= c->cl_n) {
		check_corrupt(c, 1,
		    "ERROR refcount block %" PRIu64 " is outside image", ix);
		c->outside = true;
		c->rebuild = rebuild;
		return 0;
	}
	if (check_count(c, host, c->q->cluster_len, 1, e))
		return -1;
	refs = refmap_get(&c->refs, host >> c->q->h.cluster_bits);
	if (refs == 1)
		c->rebuild = rebuild;
	refs = min_u64(refs, check_count_max(c));
	if (refs != 1)
		check_corrupt(c, 1,
		    "ERROR refcount block %" PRIu64 " refcount=%" PRIu64, ix,
		    refs);
	return 0;
}

int check_refblocks(struct check *c, struct err *e)
{
	for (uint64_t ix = 0; ix < c->reftable_n; ix++)
		if (check_block_entry(c, ix) && check_block(c, ix, e))
			return -1;
	return 0;
}

/* ---- comparing ----------------------------------------------------------- */

/* From here on the map holds what the file says. */
static int differ(
    struct check *c, uint64_t cl, uint64_t disk, uint64_t refs, struct err *e)
{
	uint64_t max = check_count_max(c);

	if (refs > max) {
		check_corrupt(c, refs - max,
		    "ERROR: overflow cluster offset=0x%" PRIx64,
		    cl << c->q->h.cluster_bits);
		refs = max;
	}
	if (!disk)
		c->uncounted = true;
	if (disk < refs)
		check_corrupt(c, 1,
		    "ERROR cluster %" PRIu64 " refcount=%" PRIu64
		    " reference=%" PRIu64,
		    cl, disk, refs);
	if (disk > refs) {
		check_report(c,
		    "Leaked cluster %" PRIu64 " refcount=%" PRIu64
		    " reference=%" PRIu64,
		    cl, disk, refs);
		c->out->leaks++;
	}
	return refmap_set(&c->refs, cl, disk, e);
}

static int compare(struct check *c, uint64_t cl, uint64_t disk, struct err *e)
{
	uint64_t refs = refmap_get(&c->refs, cl);

	if (refs || disk)
		c->end_cl = max_u64(c->end_cl, cl + 1);
	return refs == disk ? 0 : differ(c, cl, disk, refs, e);
}

static int compare_block(
    struct check *c, uint64_t ix, uint8_t *block, struct err *e)
{
	uint64_t first = ix * c->q->refblock_n;
	uint64_t n = min_u64(c->q->refblock_n, c->cl_n - first);

	if (check_read(c, block, c->q->cluster_len, block_host(c, ix), e))
		return -1;
	for (uint64_t i = 0; i < n; i++)
		if (compare(c, first + i,
			refbits_get(block, c->q->h.refcount_order, i), e))
			return -1;
	return 0;
}

/* A block that cannot be found: nothing is known of its clusters. */
static void unreadable_block(struct check *c, uint64_t ix)
{
	uint64_t first = ix * c->q->refblock_n;
	uint64_t n = min_u64(c->q->refblock_n, c->cl_n - first);

	check_report(c,
	    "Can't get refcount for cluster %" PRIu64 " and the %" PRIu64
	    " after it: bad refcount table entry %" PRIu64,
	    first, n - 1, ix);
	c->out->check_errors += n;
}

/* Clusters of blocks that do not exist: their count is 0. */
static int compare_uncounted(struct check *c, uint64_t key, struct err *e)
{
	for (unsigned i = 0; i < REFMAP_PAGE_N; i++) {
		uint64_t cl = key * REFMAP_PAGE_N + i;

		if (cl >= c->cl_n || check_block_entry(c, block_ix_of(c, cl)))
			continue;
		if (refmap_get(&c->refs, cl))
			c->rebuild = true;
		if (compare(c, cl, 0, e))
			return -1;
	}
	return 0;
}

static int compare_blocks(struct check *c, struct err *e)
{
	uint64_t blocks =
	    min_u64(c->reftable_n, div_up(c->cl_n, c->q->refblock_n));
	CLEANUP_FREE uint8_t *block = malloc(c->q->cluster_len);

	if (!block)
		return err_nomem(e);
	image_work_begin(c->img, blocks);
	for (uint64_t ix = 0; ix < blocks; ix++) {
		if (image_work(c->img, 1, e))
			return -1;
		if (!check_block_entry(c, ix))
			continue;
		if (!block_ok(c, ix))
			unreadable_block(c, ix);
		else if (compare_block(c, ix, block, e))
			return -1;
	}
	return 0;
}

int check_compare(struct check *c, struct err *e)
{
	CLEANUP_FREE uint64_t *keys = NULL;
	size_t n;

	if (compare_blocks(c, e))
		return -1;
	keys = refmap_keys(&c->refs, e);
	n = c->refs.n;
	for (size_t i = 0; keys && i < n; i++)
		if (compare_uncounted(c, keys[i], e))
			return -1;
	return keys ? 0 : -1;
}

int check_disk_count(
    struct check *c, uint64_t cl, uint64_t *count, struct err *e)
{
	uint64_t block_ix = block_ix_of(c, cl), in_block, host;
	uint8_t buf[8];

	*count = 0;
	if (!block_ok(c, block_ix))
		return 0;
	if (cl < c->cl_n) {
		*count = refmap_get(&c->refs, cl);
		return 1;
	}
	if (!block_host(c, block_ix))
		return 1;
	/* Past the end of the file, where nothing was compared. */
	in_block = (cl % c->q->refblock_n) << c->q->h.refcount_order;
	host = block_host(c, block_ix) + in_block / 64 * 8;
	if (check_read(c, buf, sizeof buf, host, e))
		return -1;
	*count = refbits_get(buf, c->q->h.refcount_order,
	    in_block % 64 >> c->q->h.refcount_order);
	return 1;
}
