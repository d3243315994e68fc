/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Replacing a structure that the header names: the new one is written to space
 * of its own, then the header that names it, then the old one's space is given
 * back.  Counts are raised before and lowered after (I3).
 *
 * The gate is closed.
 */
#include "../core/request.h"
#include "qcow2.h"

int qcow2_space_take(
    struct image *img, uint64_t len, uint64_t *host, struct err *e)
{
	struct qcow2 *q = qcow2_of(img);
	uint64_t n = div_up(len, q->cluster_len), got;
	int rc;

	rwlock_excl(&img->meta);
	rc = qcow2_alloc(img, n, n, host, &got, e);
	if (!rc)
		rc = clusterset_add(&q->meta, *host >> q->h.cluster_bits, n, e);
	rwlock_excl_end(&img->meta);
	return rc;
}

int qcow2_space_put(struct image *img, const uint8_t *buf, uint64_t len,
    uint64_t host, struct err *e)
{
	uint64_t padded = round_up(len, qcow2_of(img)->cluster_len);

	if (len && host_pwrite(img->file, buf, len, host, e))
		return -1;
	if (padded == len)
		return 0;
	return host_zero(img->file, host + len, padded - len, 0, e);
}

int qcow2_space_write(struct image *img, const uint8_t *buf, uint64_t len,
    uint64_t *host, struct err *e)
{
	*host = 0;
	if (!len)
		return 0;
	return qcow2_space_take(img, len, host, e)
		   ? -1
		   : qcow2_space_put(img, buf, len, *host, e);
}

int qcow2_space_give(
    struct image *img, uint64_t host, uint64_t len, struct err *e)
{
	struct qcow2 *q = qcow2_of(img);
	uint64_t cl = host >> q->h.cluster_bits;
	uint64_t n = div_up(len, q->cluster_len);
	int rc;

	if (!n)
		return 0;
	rwlock_excl(&img->meta);
	tables_forget(q->tables, host, n * q->cluster_len);
	clusterset_remove(&q->meta, cl, n);
	rc = qcow2_refcount_add(img, cl, n, -1, e);
	rwlock_excl_end(&img->meta);
	return rc;
}

int qcow2_header_switch(struct image *img, struct err *e)
{
	/* What it points to, and its counts, come first. */
	if (image_commit(img, e) || qcow2_header_write(img, e))
		return -1;
	return host_sync(img->file, e);
}
