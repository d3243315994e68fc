/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * qcow2: space for packed units.  They lie side by side at any byte; a cluster
 * is counted once for each unit that has bytes in it.
 */
#include "qcow2.h"

/* Raise the count of the cluster that packed data is being appended to. */
static int share_packed(
    struct image *img, uint64_t stored, uint64_t *host, struct err *e)
{
	struct qcow2 *q = qcow2_of(img);
	uint64_t cl = q->packed_host >> q->h.cluster_bits;
	uint64_t room =
	    q->cluster_len - (q->packed_host & (q->cluster_len - 1));
	uint64_t next, got;

	*host = 0;
	if (!q->packed_host || !qcow2_refcount_can_share(img, cl))
		return 0;
	if (stored > room) {
		/* It may go on in the next cluster, if that one is free. */
		if (qcow2_alloc(img, 1, 1, &next, &got, e))
			return -1;
		if (next != (cl + 1) << q->h.cluster_bits) {
			*host = q->packed_host = next;
			return 0;
		}
	}
	*host = q->packed_host;
	return qcow2_refcount_add(img, cl, 1, 1, e);
}

int qcow2_reserve_packed(struct image *img, uint64_t guest, uint64_t stored,
    struct reservation *r, struct err *e)
{
	struct qcow2 *q = qcow2_of(img);
	uint64_t got, host;

	if (share_packed(img, stored, &host, e))
		return -1;
	if (!host && qcow2_alloc(img, 1, 1, &host, &got, e))
		return -1;
	q->packed_host = host + stored;
	if (is_aligned(q->packed_host, q->cluster_len))
		q->packed_host = 0;
	r->guest = guest;
	r->len = q->cluster_len;
	r->file = img->file;
	r->host = host;
	r->stored = stored;
	return 0;
}
