/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Another tree becomes the active one: that of a snapshot, or an empty one.
 * The moment of it is the write of the header; see space.c.
 */
#include <stdlib.h>

#include "../core/packed.h"
#include "qcow2.h"

struct qcow2_l1_state qcow2_l1_active(struct image *img, struct err *e)
{
	const struct qcow2 *q = qcow2_of(img);

	return (struct qcow2_l1_state){.entries = qcow2_l1_copy(q, e),
	    .host = q->h.l1_host,
	    .n = q->h.l1_n,
	    .size = img_size(img)};
}

static int own_tree(
    struct image *img, const struct qcow2_l1_state *s, bool add, struct err *e)
{
	struct qcow2 *q = qcow2_of(img);
	uint64_t cl = s->host >> q->h.cluster_bits;
	uint64_t n = div_up(8ull * s->n, q->cluster_len);

	if (!add)
		clusterset_remove(&q->meta, cl, n);
	else if (clusterset_add(&q->meta, cl, n, e))
		return -1;
	for (uint32_t i = 0; i < s->n; i++) {
		uint64_t host = be64(s->entries + i * 8ull) & QCOW2_HOST_MASK;

		cl = host >> q->h.cluster_bits;
		if (!host)
			continue;
		if (!add)
			clusterset_remove(&q->meta, cl, 1);
		else if (clusterset_add(&q->meta, cl, 1, e))
			return -1;
	}
	return 0;
}

int qcow2_l1_use(struct image *img, uint64_t host, uint32_t n, struct err *e)
{
	struct qcow2 *q = qcow2_of(img);
	uint64_t old_host = q->h.l1_host;
	uint32_t old_n = q->h.l1_n, old_slices_n = q->l1_slices_n;
	struct table **old = q->l1;

	q->h.l1_host = host;
	q->h.l1_n = n;
	if (!qcow2_load_l1(img, e)) {
		if (!qcow2_header_switch(img, e)) {
			qcow2_drop_slices(q, old, old_slices_n);
			return 0;
		}
		qcow2_drop_slices(q, q->l1, q->l1_slices_n);
	}
	q->l1 = old;
	q->l1_slices_n = old_slices_n;
	q->h.l1_host = old_host;
	q->h.l1_n = old_n;
	return -1;
}

/* The metadata in use is that of the new tree. */
static int own_new(struct image *img, const struct qcow2_l1_state *old,
    const struct qcow2_l1_state *new, struct err *e)
{
	int rc;

	rwlock_excl(&img->meta);
	rc = own_tree(img, old, false, e);
	if (!rc)
		rc = own_tree(img, new, true, e);
	rwlock_excl_end(&img->meta);
	return rc;
}

int qcow2_l1_switch(struct image *img, const struct qcow2_l1_state *old,
    struct qcow2_l1_state *new, struct err *e)
{
	struct qcow2 *q = qcow2_of(img);

	if (qcow2_tree_clear_copied(img, new->entries, new->n, e) ||
	    qcow2_tree_count(img, new->entries, new->n, 1, e) ||
	    qcow2_space_write(img, new->entries, 8ull * new->n, &new->host, e))
		return -1;
	q->h.size = new->size;
	if (qcow2_l1_use(img, new->host, new->n, e)) {
		q->h.size = old->size;
		return -1;
	}
	atomic_store(&img->size, new->size);
	/* The bytes of freed clusters may get another meaning. */
	packed_forget(img->packed, 0, UINT64_MAX);
	return own_new(img, old, new, e) ||
		       qcow2_tree_count(img, old->entries, old->n, -1, e) ||
		       qcow2_space_give(img, old->host, 8ull * old->n, e)
		   ? -1
		   : 0;
}
