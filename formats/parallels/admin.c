/* SPDX-License-Identifier: BSD-3-Clause */
/* Checking, repairing, walking and resizing Parallels images. */
#include <errno.h>

#include "../core/prealloc.h"
#include "../core/request.h"
#include "../core/resize.h"
#include "parallels.h"

/* ---- check --------------------------------------------------------------- */

/* Free clusters between others are taken again; past the last one is a leak. */
static int look(struct flat_check *c, struct err *e)
{
	const struct parallels *v = parallels_of(c->f->img);

	const struct image *img = c->f->img;

	/* By others: a writer sets it itself. */
	if (v->h.in_use && (!image_writable(img) || img->flags & IMG_O_CHECK)) {
		flat_report(c, &c->out->corruptions,
		    "%s image was not closed correctly",
		    c->repair ? "Repairing" : "ERROR");
		c->fixed_n++;
	}
	if (flat_check(c, parallels_ext_claim, e))
		return -1;
	c->out->leaks = c->tail_n;
	c->out->image_end = c->end;
	if (c->tail_n)
		flat_report(c, NULL,
		    "%s space leaked at the end of the image %llu",
		    c->repair ? "Repairing" : "ERROR",
		    (unsigned long long)(c->tail_n * c->f->space_len));
	return 0;
}

int parallels_check(struct image *img, struct img_check *out,
    void (*report)(void *, const char *), void *arg, struct err *e)
{
	struct flat_check c = {
	    .f = flat_of(img), .out = out, .report = report, .arg = arg};

	return look(&c, e);
}

int parallels_repair(struct image *img, enum img_repair what,
    struct img_check *out, void (*report)(void *, const char *), void *arg,
    struct err *e)
{
	struct parallels *v = parallels_of(img);
	struct img_check found = {0};
	struct flat_check c = {.f = flat_of(img),
	    .out = &found,
	    .report = report,
	    .arg = arg,
	    .repair = what == IMG_REPAIR_ALL};
	bool in_use = v->h.in_use;

	if (look(&c, e) || image_commit(img, e) ||
	    flat_scan(c.f, parallels_ext_claim, e) || parallels_settle(img, e))
		return -1;
	if (in_use && !c.repair) {
		v->h.in_use = true;
		if (parallels_header_write(img, e))
			return -1;
	}
	return flat_check_again(img, &found, out, e);
}

int parallels_walk(struct image *img, struct walker *w, struct err *e)
{
	return parallels_ext_walk(img, w, e) ||
		       flat_walk(img, w, PARALLELS_HEADER_LEN, "BAT", e)
		   ? -1
		   : 0;
}

/* ---- resize --------------------------------------------------------------
 *
 * The BAT grows over the place of the first clusters, which are moved out of
 * the way; then one write of the header puts its length, the start of the
 * clusters and the size in force (I6).
 */

/* Make room for a BAT of that many bytes, all durable. */
static int make_room(struct image *img, uint64_t bat_end, struct err *e)
{
	struct parallels *v = parallels_of(img);
	uint64_t base = v->h.data_host, to;

	if (bat_end <= base)
		return 0;
	to = base + round_up(bat_end - base, v->f.space_len);
	if (to / SECTOR_LEN > UINT32_MAX)
		return err_set(e, ERR_USAGE, EFBIG,
		    "Image size is too large for this cluster size");
	if (flat_move(&v->f, base, to, e) || host_grow(img->file, to, e))
		return -1;
	v->h.data_host = to;
	v->h.data_given = true;
	return 0;
}

/* Entries for block_n clusters; the header does not say so yet. */
static int grow_bat(struct image *img, uint64_t block_n, struct err *e)
{
	struct parallels *v = parallels_of(img);
	uint64_t from = PARALLELS_HEADER_LEN + 4ull * v->h.block_n;
	uint64_t to = PARALLELS_HEADER_LEN + 4 * block_n;
	uint64_t base;

	if (block_n <= v->h.block_n)
		return 0;
	if (make_room(img, to, e) ||
	    host_zero(img->file, from, to - from, 0, e) ||
	    host_sync(img->file, e))
		return -1;
	base = v->h.data_host;
	v->h.block_n = (uint32_t)block_n;
	if (parallels_header_write(img, e))
		return image_fail(img, e);
	flat_use_table(&v->f, PARALLELS_HEADER_LEN, block_n);
	v->f.space.max_ix -= (base - v->f.space.base) / v->f.space_len;
	v->f.space.base = base;
	return flat_scan(&v->f, NULL, e);
}

static int grow(
    struct image *img, uint64_t size, enum img_prealloc how, struct err *e)
{
	struct parallels *v = parallels_of(img);
	uint64_t old = img_size(img);
	int rc;

	if (grow_bat(img, div_up(size, v->h.cluster_len), e))
		return -1;
	atomic_store(&img->size, size);
	rc = resize_hide(img, old, size, e);
	if (!rc && how != IMG_PREALLOC_OFF)
		rc = img_preallocate(
		    img, round_up(old, v->h.cluster_len), size, how, e);
	if (!rc)
		rc = image_commit(img, e);
	if (rc)
		atomic_store(&img->size, old);
	return rc;
}

int parallels_resize(
    struct image *img, uint64_t size, enum img_prealloc how, struct err *e)
{
	struct parallels *v = parallels_of(img);
	uint64_t old = img_size(img);
	uint64_t block_n = div_up(size, v->h.cluster_len);

	if (!is_aligned(size, SECTOR_LEN))
		return err_usage(e, "The new size must be a multiple of 512");
	if (block_n >= PARALLELS_ENTRY_MAX ||
	    (v->h.old && size / SECTOR_LEN > UINT32_MAX))
		return err_set(e, ERR_USAGE, EFBIG,
		    "Image size is too large for this cluster size");
	if (image_commit(img, e) ||
	    (size > old ? grow(img, size, how, e)
			: resize_drop(img, size, e)) ||
	    image_commit(img, e))
		return -1;
	v->h.size = size;
	v->h.block_n = (uint32_t)block_n;
	if (parallels_header_write(img, e))
		return image_fail(img, e);
	flat_use_table(&v->f, PARALLELS_HEADER_LEN, block_n);
	atomic_store(&img->size, size);
	return 0;
}
