/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Counts that change in the same moment as what they count.
 *
 * The refcount table and its blocks are copied to new space, and only the
 * copies change from then on.  The header on disk names the old ones until the
 * next header is written: that one write brings new counts and, when it names
 * other tables too, a new mapping in force together.  A crash before it finds
 * the old counts, which do not know of the change.
 *
 * Between the two nothing may be allocated that the old counts call used: all
 * space is taken before.
 *
 * The gate is closed.
 */
#include <stdlib.h>

#include "../core/duplicate.h"
#include "../core/request.h"
#include "../core/tables.h"
#include "qcow2.h"

void qcow2_counts_clear(struct qcow2_counts *m)
{
	free(m->block);
	*m = (struct qcow2_counts){0};
}

static int list_blocks(struct image *img, struct qcow2_counts *m, struct err *e)
{
	const struct qcow2 *q = qcow2_of(img);
	uint64_t n = qcow2_reftable_n(q);

	free(m->block);
	m->block_n = 0;
	m->block = calloc(n + 1, sizeof *m->block);
	if (!m->block)
		return err_nomem(e);
	m->table_host = q->h.reftable_host;
	m->table_cl = q->h.reftable_cl;
	for (uint64_t ix = 0; ix < n; ix++) {
		uint64_t host;

		if (qcow2_refblock_host(img, ix, &host, e))
			return -1;
		if (host)
			m->block[m->block_n++] = (struct qcow2_block){ix, host};
	}
	return 0;
}

/*
 * Space for the copies and, behind it, for what the caller wants.  Taking it
 * may add to what is to be copied: then again, and by then it is there.
 */
static int take_space(struct image *img, struct qcow2_counts *m,
    uint64_t spare_n, uint64_t *host, struct err *e)
{
	const struct qcow2 *q = qcow2_of(img);

	for (;;) {
		uint64_t n, len;

		if (list_blocks(img, m, e))
			return -1;
		n = m->block_n + m->table_cl;
		len = (n + spare_n) << q->h.cluster_bits;
		if (qcow2_space_take(img, len, host, e) ||
		    list_blocks(img, m, e))
			return -1;
		if (m->block_n + m->table_cl == n)
			return 0;
		if (qcow2_space_give(img, *host, len, e))
			return -1;
	}
}

/* The blocks go to [host, ...); the cache has nothing newer. */
static int copy_blocks(struct image *img, const struct qcow2_counts *m,
    uint64_t host, struct err *e)
{
	const struct qcow2 *q = qcow2_of(img);

	for (size_t i = 0; i < m->block_n; i++) {
		if (duplicate(
			img->file, m->block[i].host, host, q->cluster_len, e))
			return -1;
		host += q->cluster_len;
	}
	return 0;
}

static int use_blocks(struct image *img, const struct qcow2_counts *m,
    uint64_t host, struct err *e)
{
	struct qcow2 *q = qcow2_of(img);

	for (size_t i = 0; i < m->block_n; i++) {
		if (qcow2_reftable_set(q, m->block[i].ix, host, e))
			return -1;
		host += q->cluster_len;
	}
	return 0;
}

/* What a commit gives back it counts after it has written: until nothing is
 * left. */
static int commit_all(struct image *img, struct err *e)
{
	do {
		if (image_commit(img, e))
			return -1;
	} while (tables_dirty_len(img->tables));
	return 0;
}

int qcow2_counts_move(struct image *img, uint64_t spare_n,
    struct qcow2_counts *m, struct qcow2_spare *spare, struct err *e)
{
	struct qcow2 *q = qcow2_of(img);
	uint64_t host, table_host;
	int rc;

	if (take_space(img, m, spare_n, &host, e))
		return -1;
	if (commit_all(img, e) || copy_blocks(img, m, host, e)) {
		struct err ignored = ERR_INIT;

		qcow2_space_give(img, host,
		    (m->block_n + m->table_cl + spare_n) << q->h.cluster_bits,
		    &ignored);
		return -1;
	}
	table_host = host + (m->block_n << q->h.cluster_bits);
	spare->host = table_host + (m->table_cl << q->h.cluster_bits);
	spare->n = spare_n;
	rwlock_excl(&img->meta);
	rc = qcow2_reftable_move(img, table_host, e);
	if (!rc)
		rc = use_blocks(img, m, host, e);
	rwlock_excl_end(&img->meta);
	return rc ? image_fail(img, e) : 0;
}

int qcow2_spare_give(
    struct image *img, const struct qcow2_spare *spare, struct err *e)
{
	struct qcow2 *q = qcow2_of(img);
	uint64_t len = spare->n << q->h.cluster_bits;

	if (qcow2_space_give(img, spare->host, len, e))
		return -1;
	if (q->end == spare->host + len)
		q->end = spare->host;
	return 0;
}

int qcow2_counts_moved(
    struct image *img, const struct qcow2_counts *m, struct err *e)
{
	const struct qcow2 *q = qcow2_of(img);

	for (size_t i = 0; i < m->block_n; i++)
		if (qcow2_space_give(img, m->block[i].host, q->cluster_len, e))
			return -1;
	return qcow2_space_give(
	    img, m->table_host, (uint64_t)m->table_cl << q->h.cluster_bits, e);
}
