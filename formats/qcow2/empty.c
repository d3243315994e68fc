/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Emptying the disk: every cluster becomes a hole, and what is below shows.
 * Snapshots keep what they have.
 *
 * The gate is closed and everything is committed.
 */
#include <stdlib.h>

#include "../core/request.h"
#include "resize.h"

/* Make a tree without L2 tables the active one. */
static int empty_tree(struct image *img, struct err *e)
{
	struct qcow2_l1_state old = qcow2_l1_active(img, e);
	CLEANUP_FREE uint8_t *entries = old.entries;
	CLEANUP_FREE uint8_t *zeroes = calloc(old.n + 1ull, 8);
	struct qcow2_l1_state new = {
	    .entries = zeroes, .n = old.n, .size = old.size};

	if (!entries)
		return -1;
	if (!zeroes)
		return err_nomem(e);
	return qcow2_l1_switch(img, &old, &new, e);
}

/* Free space inside the file goes back to the host. */
static int punch_free(struct image *img, struct err *e)
{
	const struct qcow2 *q = qcow2_of(img);
	uint64_t end_cl = q->end >> q->h.cluster_bits, n;
	struct err ignored = ERR_INIT;

	for (uint64_t cl = 0; cl < end_cl; cl += n) {
		bool used;
		int rc;

		rwlock_excl(&img->meta);
		rc = qcow2_refcount_run(img, cl, end_cl - cl, &used, &n, e);
		rwlock_excl_end(&img->meta);
		if (rc)
			return -1;
		/* A punch that fails costs space, not data. */
		if (!used)
			host_punch(img->file, cl << q->h.cluster_bits,
			    n << q->h.cluster_bits, &ignored);
	}
	return 0;
}

int qcow2_make_empty(struct image *img, struct err *e)
{
	struct qcow2 *q = qcow2_of(img);
	struct err ignored = ERR_INIT;

	/* Twice, so that the L1 table moves to the front. */
	if (empty_tree(img, e) || empty_tree(img, e) || image_commit(img, e) ||
	    qcow2_cut_file(img, e) || punch_free(img, e))
		return image_fail(img, e);
	if (q->data != img->file)
		host_punch(q->data, 0, host_size(q->data), &ignored);
	return 0;
}
