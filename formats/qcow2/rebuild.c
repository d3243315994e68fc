/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * New reference counts for an image whose own are lost, for repair.h: a new
 * refcount table and new refcount blocks, written behind everything that is in
 * use.  Until the header names them, in one write, the old ones are in force;
 * from then on nothing refers to those, and no count holds them.
 *
 * Damaged entries may point behind the file, where the new space is: so those
 * near its end are counted too, and their places are passed by.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#include "refbits.h"
#include "repair.h"

struct rebuild {
	struct check *c;
	/* The snapshots, if they are new, the table, the blocks; behind them */
	uint64_t cl, end;
	uint64_t snap_cl, table_cl;
	uint8_t *snap; /* NULL: it stays */
	uint64_t snap_len;
	uint32_t snap_n;
	uint64_t *block; /* indexes of the blocks, ascending */
	uint64_t n, max;
	struct refmap old; /* clusters of the counts in force */
};

/* Clusters behind the file whose references are counted: room for as much as
 * can be needed, and some to pass by. */
static uint64_t window(uint64_t file_cl)
{
	return 1024 + QCOW2_SNAPSHOTS_LEN_MAX / 512 + file_cl / 32;
}

void repair_widen(struct check *c)
{
	uint64_t file_cl = div_up(c->file_len, c->q->cluster_len);

	c->count_len = (file_cl + window(file_cl)) * c->q->cluster_len;
}

static uint64_t block_of(const struct rebuild *b, uint64_t cl)
{
	return cl / b->c->q->refblock_n;
}

/* Behind the last one, or that one again: then nothing is done. */
static int add_block(struct rebuild *b, uint64_t ix, struct err *e)
{
	if (b->n && b->block[b->n - 1] >= ix)
		return 0;
	if (b->n == b->max) {
		uint64_t max = b->max ? 2 * b->max : 64;
		uint64_t *p = realloc(b->block, max * sizeof *p);

		if (!p)
			return err_nomem(e);
		b->block = p;
		b->max = max;
	}
	b->block[b->n++] = ix;
	return 0;
}

/* The blocks that count what is in use in [cl, end). */
static int add_blocks(
    struct rebuild *b, uint64_t cl, uint64_t end, struct err *e)
{
	struct refmap *refs = &b->c->refs;

	while (cl < end) {
		if (!refmap_page(refs, cl / REFMAP_PAGE_N)) {
			cl = round_up(cl + 1, REFMAP_PAGE_N);
			continue;
		}
		if (refmap_get(refs, cl) && add_block(b, block_of(b, cl), e))
			return -1;
		cl++;
	}
	return 0;
}

/*
 * Where the new space ends when it begins at b->cl: the blocks known so far,
 * those that count the new space, and a table for them all.
 */
static void set_end(struct rebuild *b)
{
	uint64_t next = b->n ? b->block[b->n - 1] + 1 : 0, end = b->cl + 1;

	do {
		uint64_t last = block_of(b, end - 1);
		uint64_t more = last + 1 - max_u64(next, block_of(b, b->cl));

		b->end = end;
		b->table_cl = div_up(8 * (last + 1), b->c->q->cluster_len);
		end = b->cl + b->snap_cl + b->table_cl + b->n + more;
	} while (end > b->end);
}

/* Is the cluster in use, or was it while the old counts are in force? */
static bool used(struct rebuild *b, uint64_t cl)
{
	return refmap_get(&b->c->refs, cl) || refmap_get(&b->old, cl);
}

/* The first place from `cl` on that is free; it ends by `limit`. */
static int find_place(
    struct rebuild *b, uint64_t cl, uint64_t limit, struct err *e)
{
	if (add_blocks(b, 0, cl, e))
		return -1;
	b->cl = cl;
	set_end(b);
	for (; cl < b->end && b->end <= limit; cl++) {
		if (!used(b, cl))
			continue;
		if (add_blocks(b, b->cl, cl + 1, e))
			return -1;
		b->cl = cl + 1;
		set_end(b);
	}
	if (b->end <= limit &&
	    b->table_cl * b->c->q->cluster_len <= QCOW2_REFTABLE_LEN_MAX)
		return 0;
	return err_set(e, ERR_SYSTEM, ENOSPC,
	    "%s: no room for new reference counts", b->c->img->name);
}

/* A device cannot grow: there it is among what is free. */
static int place(struct rebuild *b, struct err *e)
{
	struct check *c = b->c;
	uint64_t file_cl = div_up(c->file_len, c->q->cluster_len);
	bool inside = c->img->file->fixed_size;
	uint64_t limit = inside ? c->file_len / c->q->cluster_len
				: file_cl + window(file_cl);

	if (find_place(b, inside ? 1 : file_cl, limit, e))
		return -1;
	for (uint64_t cl = b->cl; cl < b->end; cl++)
		if (refmap_set(&c->refs, cl, 1, e))
			return -1;
	c->cl_n = max_u64(file_cl, b->end);
	b->n = 0;
	return add_blocks(b, 0, c->cl_n, e);
}

/* Counts that do not fit stay too low, which the check has said. */
static int fill_block(
    struct rebuild *b, uint8_t *block, uint64_t ix, struct err *e)
{
	struct check *c = b->c;
	uint64_t first = ix * c->q->refblock_n;

	memset(block, 0, c->q->cluster_len);
	for (uint64_t i = 0; i < c->q->refblock_n; i++) {
		uint64_t refs = refmap_get(&c->refs, first + i);
		uint64_t max = check_count_max(c);

		if (!refs)
			continue;
		refbits_put(
		    block, c->q->h.refcount_order, i, min_u64(refs, max));
		if (refs > max && refmap_set(&c->refs, first + i, max, e))
			return -1;
	}
	return 0;
}

static int write_blocks(struct rebuild *b, uint8_t *table, struct err *e)
{
	uint32_t len = b->c->q->cluster_len;
	uint64_t host = (b->cl + b->snap_cl + b->table_cl) * len;
	CLEANUP_FREE uint8_t *block = malloc(len);

	if (!block)
		return err_nomem(e);
	for (uint64_t i = 0; i < b->n; i++, host += len) {
		put_be64(table + 8 * b->block[i], host);
		if (fill_block(b, block, b->block[i], e) ||
		    host_pwrite(b->c->img->file, block, len, host, e))
			return -1;
	}
	return 0;
}

static int write_snapshots(struct rebuild *b, struct err *e)
{
	struct hostfile *f = b->c->img->file;
	uint64_t host = b->cl * b->c->q->cluster_len;
	uint64_t end = host + b->snap_cl * b->c->q->cluster_len;

	if (!b->snap_len)
		return 0;
	if (host_pwrite(f, b->snap, b->snap_len, host, e))
		return -1;
	host += b->snap_len;
	return host < end ? host_zero(f, host, end - host, 0, e) : 0;
}

static int write_all(struct rebuild *b, struct err *e)
{
	struct check *c = b->c;
	uint64_t len = b->table_cl * c->q->cluster_len;
	uint64_t host = (b->cl + b->snap_cl) * c->q->cluster_len;
	uint8_t *table = calloc(1, len);

	if (!table)
		return err_nomem(e);
	free(c->reftable);
	c->reftable = table;
	c->reftable_n = len / 8;
	if (write_snapshots(b, e) || write_blocks(b, table, e) ||
	    host_pwrite(c->img->file, table, len, host, e))
		return -1;
	return host_sync(c->img->file, e);
}

static int switch_header(const struct rebuild *b, struct err *e)
{
	struct qcow2 *q = qcow2_of(b->c->img);

	q->h.reftable_host = (b->cl + b->snap_cl) * q->cluster_len;
	q->h.reftable_cl = (uint32_t)b->table_cl;
	if (b->snap) {
		q->h.snapshot_host = b->snap_len ? b->cl * q->cluster_len : 0;
		q->h.snapshot_n = b->snap_n;
	}
	if (qcow2_header_write(b->c->img, e))
		return -1;
	return host_sync(b->c->img->file, e);
}

int repair_rebuild(struct check *c, struct err *e)
{
	struct rebuild b = {.c = c};
	int rc;

	check_report(c, "Rebuilding refcount structure");
	if (c->new_snapshots) {
		b.snap = repair_snapshots(c, &b.snap_len, &b.snap_n, e);
		if (!b.snap)
			return -1;
		b.snap_cl = div_up(b.snap_len, c->q->cluster_len);
	}
	rc = repair_add_counts(c, &b.old, e) || place(&b, e) ||
	     write_all(&b, e) || switch_header(&b, e);
	free(b.block);
	free(b.snap);
	refmap_destroy(&b.old);
	return rc ? -1 : 0;
}
