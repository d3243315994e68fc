/* SPDX-License-Identifier: BSD-3-Clause */
/* QED as a driver: see qed.h. */
#include <errno.h>
#include <stdlib.h>

#include "../core/request.h"
#include "../core/resize.h"
#include "qed.h"

#define ENTRY_ZERO 1u

static bool probe(const struct probe_in *p)
{
	return p->head_len >= QED_HEADER_LEN && le32(p->head) == QED_MAGIC;
}

/* ---- entries ---------------------------------------------------------------
 */

static void decode(
    const struct image *img, uint64_t entry, struct twolevel_entry *n)
{
	(void)img;
	*n = (struct twolevel_entry){.kind = EXT_DATA, .host = entry};
	if (entry <= ENTRY_ZERO)
		n->kind = entry ? EXT_ZERO : EXT_HOLE;
}

static uint64_t encode(const struct image *img, const struct twolevel_entry *n)
{
	(void)img;
	return n->kind == EXT_ZERO ? ENTRY_ZERO : n->host;
}

/* ---- the header ------------------------------------------------------------
 */

static int store(struct image *img, struct err *e)
{
	return qed_header_write(img->file, &qed_of(img)->h, e) ||
		       host_sync(img->file, e)
		   ? -1
		   : 0;
}

static int touch(struct image *img, struct err *e)
{
	struct qed *q = qed_of(img);

	if (q->h.features & QED_F_NEED_CHECK)
		return 0;
	q->h.features |= QED_F_NEED_CHECK;
	return store(img, e) ? image_fail(img, e) : 0;
}

static int stop(struct image *img, struct err *e)
{
	struct qed *q = qed_of(img);

	if (!(q->h.features & QED_F_NEED_CHECK) || (img->flags & IMG_O_CHECK))
		return 0;
	q->h.features &= ~QED_F_NEED_CHECK;
	return store(img, e);
}

/* ---- open, close -----------------------------------------------------------
 */

static int take_backing(
    struct image *img, const struct qed_header *h, struct err *e)
{
	if (!h->backing)
		return 0;
	img->backing_name = strdup(h->backing);
	if (img->backing_name && (h->features & QED_F_BACKING_RAW))
		img->backing_fmt = strdup("raw");
	if (!img->backing_name ||
	    (!img->backing_fmt && (h->features & QED_F_BACKING_RAW)))
		return err_nomem(e);
	return 0;
}

static void set_geometry(struct qed *q)
{
	const struct qed_header *h = &q->h;

	q->t = (struct twolevel){
	    .dir_host = h->l1_host,
	    .dir_n = qed_table_n(h),
	    .table_n = qed_table_n(h),
	    .table_align = h->cluster_len,
	    .cluster_len = h->cluster_len,
	    .head_len = (uint64_t)h->header_cl * h->cluster_len,
	    .has_zero = true,
	    .decode = decode,
	    .encode = encode,
	    .touch = touch,
	};
}

static void close_image(struct image *img)
{
	struct qed *q = qed_of(img);

	twolevel_close(img);
	qed_header_clear(&q->h);
	free(q);
	img->priv = NULL;
}

static int open_image(struct image *img, struct options *o, struct err *e)
{
	struct qed *q = calloc(1, sizeof *q);

	(void)o;
	if (!q)
		return err_nomem(e);
	if (qed_header_read(img->file, &q->h, e)) {
		free(q);
		return -1;
	}
	img->priv = q;
	set_geometry(q);
	atomic_store(&img->size, q->h.size);
	if (twolevel_open(img, e) || take_backing(img, &q->h, e)) {
		close_image(img);
		return -1;
	}
	return 0;
}

/* ---- check, recovery -------------------------------------------------------
 */

static int repair(struct image *img, enum img_repair what,
    struct img_check *out, void (*report)(void *, const char *), void *arg,
    struct err *e)
{
	struct qed *q = qed_of(img);

	if (touch(img, e) || twolevel_repair(img, what, out, report, arg, e))
		return -1;
	if (out->corruptions || out->check_errors)
		return 0;
	q->h.features &= ~QED_F_NEED_CHECK;
	return store(img, e);
}

/* An image that was not closed: what a crash left is put right first. */
static int recover(struct image *img, struct err *e)
{
	struct img_check found = {0};

	if (repair(img, IMG_REPAIR_ALL, &found, NULL, NULL, e))
		return -1;
	if (!found.corruptions && !found.check_errors)
		return 0;
	err_damaged(e,
	    "%s: was not closed properly, and %llu errors cannot be repaired",
	    img->name,
	    (unsigned long long)(found.corruptions + found.check_errors));
	err_hint(e, "See what check -r all says.");
	return -1;
}

/* Autoclear features that this program does not know go before a change. */
static int start(struct image *img, struct err *e)
{
	struct qed *q = qed_of(img);

	if (!image_writable(img) || (img->flags & IMG_O_CHECK))
		return 0;
	if (q->h.autoclear) {
		q->h.autoclear = 0;
		if (store(img, e))
			return -1;
	}
	if ((q->h.features & QED_F_NEED_CHECK) && recover(img, e))
		return -1;
	return twolevel_start(img, e);
}

/* ---- resize, backing file --------------------------------------------------
 */

static int set_size(struct image *img, uint64_t size, struct err *e)
{
	struct qed *q = qed_of(img);

	q->h.size = size;
	return store(img, e) ? image_fail(img, e) : 0;
}

static int grow(struct image *img, uint64_t size, struct err *e)
{
	uint64_t old = img_size(img);

	atomic_store(&img->size, size);
	if (!resize_hide(img, old, size, e) && !image_commit(img, e))
		return set_size(img, size, e);
	atomic_store(&img->size, old);
	return -1;
}

static int resize(
    struct image *img, uint64_t size, enum img_prealloc prealloc, struct err *e)
{
	const struct qed *q = qed_of(img);

	if (prealloc != IMG_PREALLOC_OFF)
		return err_unsupported(
		    e, "Preallocation is not supported for qed images");
	if (!is_aligned(size, SECTOR_LEN) || size > qed_size_max(&q->h))
		return err_usage(e,
		    "%s: a QED disk with these tables has at most %llu bytes, "
		    "in multiples of 512",
		    img->name, (unsigned long long)qed_size_max(&q->h));
	if (image_commit(img, e))
		return -1;
	if (size >= img_size(img))
		return grow(img, size, e);
	if (resize_drop(img, size, e) || image_commit(img, e))
		return -1;
	atomic_store(&img->size, size);
	return set_size(img, size, e);
}

static int set_backing(struct image *img, const char *name, const char *format,
    bool trial, struct err *e)
{
	struct qed *q = qed_of(img);

	if (name && strlen(name) > QED_BACKING_MAX)
		return err_set(
		    e, ERR_USAGE, ENOSPC, "No space left in the file header");
	if (trial)
		return 0;
	if (qed_header_rename(img->file, &q->h, name, e))
		return -1;
	q->h.features &= ~(QED_F_BACKING | QED_F_BACKING_RAW);
	if (name)
		q->h.features |= QED_F_BACKING;
	if (name && format && !strcmp(format, "raw"))
		q->h.features |= QED_F_BACKING_RAW;
	return store(img, e) ? image_fail(img, e) : 0;
}

static int describe(struct image *img, struct img_info *out, struct err *e)
{
	const struct qed *q = qed_of(img);

	(void)e;
	out->cluster_size = q->h.cluster_len;
	out->dirty = (q->h.features & QED_F_NEED_CHECK) != 0;
	return 0;
}

const struct driver qed_driver = {
    .info =
	{
	    .name = "qed",
	    .can_create = true,
	    .can_backing = true,
	    .can_check = true,
	    .can_resize = true,
	    .can_measure = true,
	    .create_opts = qed_create_opts,
	},
    .probe = probe,
    .open = open_image,
    .start = start,
    .stop = stop,
    .close = close_image,
    .map = twolevel_map,
    .reserve = twolevel_reserve,
    .publish = twolevel_publish,
    .abandon = twolevel_abandon,
    .unmap = twolevel_unmap,
    .release = twolevel_release,
    .commit = twolevel_commit,
    .create = qed_create,
    .create_check = qed_create_check,
    .resize = resize,
    .check = twolevel_check,
    .repair = repair,
    .measure = qed_measure,
    .describe = describe,
    .make_empty = twolevel_empty,
    .set_backing = set_backing,
};
