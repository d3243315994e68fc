/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * QCOW: another size, another backing file.
 *
 * What the header will name is durable first; the header changes in one sector;
 * then what it named before is given back.  The gate is closed and everything
 * is committed.
 */
#include <errno.h>
#include <stdlib.h>

#include "../core/request.h"
#include "../core/resize.h"
#include "qcow.h"

static int store(struct image *img, struct err *e)
{
	if (qcow_header_write(img->file, &qcow_of(img)->h, e) ||
	    host_sync(img->file, e))
		return image_fail(img, e);
	return 0;
}

static int grow(struct image *img, uint64_t size, struct err *e)
{
	struct qcow *q = qcow_of(img);
	uint64_t old = img_size(img), l1_n = qcow_l1_n(&q->h, size);
	uint64_t old_host = q->t.dir_host, old_len = q->t.dir_n * 8;

	if (l1_n > q->t.dir_n && twolevel_move_dir(img, l1_n, e))
		return -1;
	atomic_store(&img->size, size);
	if (resize_hide(img, old, size, e) || image_commit(img, e)) {
		atomic_store(&img->size, old);
		return image_fail(img, e);
	}
	q->h.size = size;
	q->h.l1_host = q->t.dir_host;
	if (store(img, e))
		return -1;
	return old_host == q->t.dir_host
		   ? 0
		   : twolevel_give_room(img, old_host, old_len, e);
}

static int shrink(struct image *img, uint64_t size, struct err *e)
{
	struct qcow *q = qcow_of(img);
	uint64_t l1_n = qcow_l1_n(&q->h, size);

	if (resize_drop(img, size, e) || twolevel_trim_dir(img, l1_n, e) ||
	    image_commit(img, e))
		return image_fail(img, e);
	atomic_store(&img->size, size);
	q->h.size = size;
	return store(img, e) ? -1 : twolevel_end_dir(img, l1_n, e);
}

int qcow_resize(
    struct image *img, uint64_t size, enum img_prealloc prealloc, struct err *e)
{
	if (prealloc != IMG_PREALLOC_OFF)
		return err_unsupported(
		    e, "Preallocation is not supported for qcow images");
	if (!size || !is_aligned(size, SECTOR_LEN))
		return err_usage(
		    e, "The new size must be a multiple of 512, and not 0");
	if (qcow_l1_check(&qcow_of(img)->h, size, img->name, e) ||
	    image_commit(img, e))
		return -1;
	return size > img_size(img) ? grow(img, size, e) : shrink(img, size, e);
}

/*
 * The name goes behind the header, where it changes in the same sector, and
 * where tools that empty an image leave it; else to clusters of its own.
 */
static int place_name(
    struct image *img, const char *name, struct qcow_header *h, struct err *e)
{
	size_t len = strlen(name);

	h->backing = strdup(name);
	if (!h->backing)
		return err_nomem(e);
	h->backing_len = (uint32_t)len;
	h->backing_host = QCOW_HEADER_LEN;
	if (qcow_header_has_room(h, len))
		return 0;
	return twolevel_take_room(img, len, &h->backing_host, e) ||
		       host_pwrite(img->file, name, len, h->backing_host, e) ||
		       host_sync(img->file, e)
		   ? -1
		   : 0;
}

int qcow_set_backing(struct image *img, const char *name, const char *format,
    bool trial, struct err *e)
{
	struct qcow *q = qcow_of(img);
	struct qcow_header h = q->h;
	uint64_t old_host = q->t.name_host, old_len = q->t.name_len;

	(void)format; /* there is no place for it */
	if (name && (!*name || strlen(name) > QCOW_BACKING_MAX))
		return err_set(
		    e, ERR_USAGE, ENOSPC, "No space left in the file header");
	if (trial)
		return 0;
	h.backing = NULL;
	h.backing_host = h.backing_len = 0;
	if (name && place_name(img, name, &h, e)) {
		qcow_header_clear(&h);
		return image_fail(img, e);
	}
	qcow_header_clear(&q->h);
	q->h = h;
	q->t.name_host = h.backing_host;
	q->t.name_len = h.backing_len;
	return store(img, e) ? -1
			     : twolevel_give_room(img, old_host, old_len, e);
}
