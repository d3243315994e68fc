/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Growing and shrinking a disk.
 *
 * The size in the header changes last: what a larger disk shows is there, and
 * reads as zeroes, before anybody can see it; what a smaller one cuts off is
 * gone before the size says so, and never comes back when it grows again.
 *
 * The gate is closed: no request is running.
 */
#include <errno.h>

#include "../core/prealloc.h"
#include "../core/request.h"
#include "../core/resize.h"
#include "resize.h"

int qcow2_resize_check(
    const struct image *img, unsigned version, uint64_t size, struct err *e)
{
	const struct qcow2 *q = qcow2_of(img);
	uint64_t l1_n;

	if (!is_aligned(size, SECTOR_LEN))
		return err_usage(e, "The new size must be a multiple of 512");
	if (version < 3 && q->h.snapshot_n)
		return err_unsupported(
		    e, "Can't resize a v2 image which has snapshots");
	if (!qcow2_l1_needed(q, size, &l1_n))
		return err_set(e, ERR_USAGE, EFBIG,
		    "Failed to grow the L1 table: File too large");
	return 0;
}

/* ---- the L1 table -------------------------------------------------------- */

/* A longer table in another place; everything is committed. */
static int grow_l1(struct image *img, uint64_t l1_n, struct err *e)
{
	struct qcow2 *q = qcow2_of(img);
	CLEANUP_FREE uint8_t *l1 = calloc(l1_n, 8);
	uint64_t old_host = q->h.l1_host, old_len = 8ull * q->h.l1_n, host;

	if (!l1)
		return err_nomem(e);
	for (uint32_t i = 0; i < q->h.l1_n; i++)
		put_be64(l1 + i * 8ull, qcow2_l1_get(q, i));
	if (qcow2_space_write(img, l1, l1_n * 8, &host, e))
		return -1;
	if (qcow2_l1_use(img, host, (uint32_t)l1_n, e))
		return image_fail(img, e);
	return qcow2_space_give(img, old_host, old_len, e);
}

/* ---- growing ------------------------------------------------------------- */

static void set_size(struct image *img, uint64_t size)
{
	atomic_store(&img->size, size);
}

/* A raw data file holds the guest bytes where the guest has them. */
static enum img_prealloc at_least(const struct qcow2 *q, enum img_prealloc how)
{
	if (q->data_raw && how == IMG_PREALLOC_OFF)
		return IMG_PREALLOC_METADATA;
	return how;
}

/* What the new part needs before it can be seen. */
static int fill(struct image *img, uint64_t old, uint64_t size,
    enum img_prealloc how, struct err *e)
{
	struct qcow2 *q = qcow2_of(img);

	if (q->data != img->file && host_grow(q->data, size, e))
		return -1;
	if (resize_hide(img, old, size, e))
		return -1;
	how = at_least(q, how);
	if (how == IMG_PREALLOC_OFF)
		return 0;
	/* What the old end cuts has bytes of what is below. */
	old = img->has_backing ? round_up(old, q->cluster_len)
			       : round_down(old, q->cluster_len);
	return img_preallocate(img, old, size, how, e);
}

static int grow(
    struct image *img, uint64_t size, enum img_prealloc how, struct err *e)
{
	struct qcow2 *q = qcow2_of(img);
	uint64_t old = img_size(img), l1_n;

	if (qcow2_l1_needed(q, size, &l1_n) && l1_n > q->h.l1_n &&
	    grow_l1(img, l1_n, e))
		return -1;
	set_size(img, size);
	if (!fill(img, old, size, how, e))
		return 0;
	set_size(img, old);
	return -1;
}

int qcow2_resize(
    struct image *img, uint64_t size, enum img_prealloc prealloc, struct err *e)
{
	struct qcow2 *q = qcow2_of(img);
	uint64_t old = img_size(img);

	if (qcow2_resize_check(img, q->h.version, size, e) ||
	    image_commit(img, e))
		return -1;
	if (size > old ? grow(img, size, prealloc, e) : qcow2_cut(img, size, e))
		return -1;
	q->h.size = size;
	if (qcow2_header_switch(img, e)) {
		q->h.size = old;
		set_size(img, old);
		return image_fail(img, e);
	}
	set_size(img, size);
	return size < old ? qcow2_cut_file(img, e) : 0;
}
