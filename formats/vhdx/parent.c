/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The parent of a differencing disk: is it the one that was meant, naming
 * another one, and giving back to it all that the disk has.
 *
 * The locator has the parent's data GUID, which changes when the parent is
 * written: then what the disk does not have is not what it was.
 */
#include <errno.h>
#include <stdlib.h>

#include "../core/open.h"
#include "../core/request.h"
#include "vhdx.h"

/* ---- is it the right one? --------------------------------------------------
 */

/* The data GUID of the image that a parent's name means. */
static int parent_guid(const char *above, const char *name, const char *format,
    struct vhdx_guid *g, struct err *e)
{
	struct image *img =
	    open_parent(above, name, format ? format : "vhdx", e);
	int rc = 0;

	if (!img)
		return -1;
	if (img->drv == &vhdx_driver)
		*g = vhdx_of(img)->h.data_write;
	else
		rc = err_usage(e,
		    "The backing file of a VHDX image must be a VHDX image, "
		    "not %s",
		    img_format(img));
	img_drop(img);
	return rc;
}

int vhdx_parent_check(struct image *img, struct err *e)
{
	const struct vhdx_locator *l = &vhdx_of(img)->m.parent;
	const struct image *below = img->backing;
	char is[VHDX_GUID_TEXT], was[VHDX_GUID_TEXT];
	const struct vhdx_guid *g;

	if (!below || (img->flags & IMG_O_CHECK))
		return 0;
	if (!vhdx_of(img)->m.has_parent)
		return err_unsupported(e,
		    "%s: is not a differencing disk: it cannot have a backing "
		    "file",
		    img->name);
	if (below->drv != &vhdx_driver)
		return 0;
	g = &vhdx_of(below)->h.data_write;
	if (vhdx_guid_same(g, &l->linkage) ||
	    (vhdx_guid_same(g, &l->linkage2) && !vhdx_guid_is_zero(g)))
		return 0;
	vhdx_guid_text(g, is);
	vhdx_guid_text(&l->linkage, was);
	return image_wrong_parent(img, "data GUID", is, was, e);
}

/* ---- another one ------------------------------------------------------------
 */

/* What is partly here becomes whole: the rest is zeroes. */
static int fill_block(
    struct image *img, uint64_t block_ix, uint64_t entry, struct err *e)
{
	const struct vhdx *q = vhdx_of(img);
	uint64_t n = q->m.block_len / q->m.sector_len, run, bitmap;
	bool here;

	if (vhdx_bitmap_host(img, block_ix, &bitmap, e))
		return -1;
	for (uint64_t at = 0; at < n; at += run) {
		uint64_t bit = vhdx_bit(q, block_ix * q->m.block_len) + at;

		if (vhdx_bits_run(img, bitmap, bit, n - at, &run, &here, e))
			return -1;
		if (!here && host_zero(img->file,
				 vhdx_host(entry) + at * q->m.sector_len,
				 run * q->m.sector_len, HOST_ZERO_PUNCH, e))
			return -1;
	}
	return vhdx_bat_set(
	    img, vhdx_bat_ix(q, block_ix), vhdx_host(entry) | VHDX_FULL, e);
}

/* No block is partly here, and no bitmap is left. */
static int fill_all(struct image *img, struct err *e)
{
	const struct vhdx *q = vhdx_of(img);
	uint64_t block_n = vhdx_block_n(q), entry, host;

	for (uint64_t i = 0; i < block_n; i++) {
		if (vhdx_block_get(img, i, &entry, e) ||
		    (vhdx_state(entry) == VHDX_PART &&
			fill_block(img, i, entry, e)))
			return -1;
		if ((i + 1) % q->chunk_n && i + 1 < block_n)
			continue;
		if (vhdx_bitmap_host(img, i, &host, e))
			return -1;
		if (host &&
		    (vhdx_bat_set(img, vhdx_bitmap_ix(q, i), 0, e) ||
			image_retire(img, host, VHDX_UNIT, true, true, e)))
			return -1;
	}
	return 0;
}

/* A locator, or none, and the parameter that says so, in one step. */
static int switch_locator(
    struct image *img, const uint8_t *locator, uint32_t len, struct err *e)
{
	struct vhdx *q = vhdx_of(img);
	CLEANUP_FREE uint8_t *table = malloc(VHDX_TABLE_LEN);
	uint64_t params = round_down(q->m.params_host, VHDX_SECTOR);
	struct vhdx_sector sector[VHDX_TABLE_LEN / VHDX_SECTOR + 1];
	uint8_t item[VHDX_SECTOR];
	size_t n = VHDX_TABLE_LEN / VHDX_SECTOR;
	uint32_t off;

	if (!table)
		return err_nomem(e);
	if (host_pread(
		img->file, table, VHDX_TABLE_LEN, q->meta_region.host, e) ||
	    host_pread(img->file, item, sizeof item, params, e) ||
	    vhdx_meta_set_locator(table, &q->meta_region, len, &off, e) ||
	    (len && host_pwrite(
			img->file, locator, len, q->meta_region.host + off, e)))
		return -1;
	q->m.has_parent = len > 0;
	vhdx_params_pack(item + (q->m.params_host - params), &q->m);
	for (size_t i = 0; i < n; i++)
		sector[i] =
		    (struct vhdx_sector){q->meta_region.host + i * VHDX_SECTOR,
			table + i * VHDX_SECTOR};
	sector[n++] = (struct vhdx_sector){params, item};
	if (vhdx_log_write(img, sector, n, e) || host_sync(img->file, e))
		return image_fail(img, e);
	return vhdx_load(img, e) ? image_fail(img, e) : 0;
}

static int check_new(const struct image *img, struct err *e)
{
	const struct vhdx *q = vhdx_of(img);

	if (q->m.keeps_blocks && !q->m.has_parent)
		return err_unsupported(e,
		    "%s: a fixed VHDX image cannot have a backing file",
		    img->name);
	if (vhdx_bat_n(q->m.size, q->m.block_len, q->m.sector_len, true) <=
	    q->bat.len / 8)
		return 0;
	return err_unsupported(e,
	    "%s: the BAT has no room for the entries of sector bitmaps",
	    img->name);
}

static int take_linkage(
    struct vhdx_locator *l, const struct vhdx_locator *was, struct err *e)
{
	if (e->errnum != ENOENT || !was || vhdx_guid_is_zero(&was->linkage))
		return -1;
	err_clear(e);
	l->linkage = was->linkage;
	l->linkage2 = was->linkage2;
	return 0;
}

int64_t vhdx_parent_locator(uint8_t out[VHDX_LOCATOR_MAX], const char *above,
    const char *name, const char *format, const struct vhdx_locator *was,
    struct err *e)
{
	struct vhdx_locator l = {0};
	int64_t len = -1;

	if (!vhdx_locator_name(&l, name, e) &&
	    (!parent_guid(above, name, format, &l.linkage, e) ||
		!take_linkage(&l, was, e)))
		len = vhdx_locator_pack(out, &l, e);
	vhdx_locator_clear(&l);
	return len;
}

int vhdx_set_backing(struct image *img, const char *name, const char *format,
    bool trial, struct err *e)
{
	CLEANUP_FREE uint8_t *locator = malloc(VHDX_LOCATOR_MAX);
	int64_t len = 0;

	if (!locator)
		return err_nomem(e);
	if (name && check_new(img, e))
		return -1;
	if (name)
		len = vhdx_parent_locator(locator, img->name, name, format,
		    &vhdx_of(img)->m.parent, e);
	if (len < 0 || trial)
		return len < 0 ? -1 : 0;
	if (!name && vhdx_of(img)->m.has_parent) {
		rwlock_excl(&img->meta);
		len = fill_all(img, e);
		rwlock_excl_end(&img->meta);
		if (len || image_commit(img, e))
			return image_fail(img, e);
	}
	return switch_locator(img, locator, (uint32_t)len, e);
}

/* ---- the parent becomes another one ----------------------------------- */

static int set_linkage(struct image *img, const struct vhdx_guid *linkage,
    const struct vhdx_guid *linkage2, struct err *e)
{
	CLEANUP_FREE uint8_t *locator = malloc(VHDX_LOCATOR_MAX);
	struct vhdx_locator l = vhdx_of(img)->m.parent; /* its texts */
	int64_t len;

	if (!locator)
		return err_nomem(e);
	l.linkage = *linkage;
	l.linkage2 = *linkage2;
	len = vhdx_locator_pack(locator, &l, e);
	return len < 0 ? -1 : switch_locator(img, locator, (uint32_t)len, e);
}

/* Until both are written, the second linkage says what the parent will be. */
int vhdx_renew_below(struct image *img, struct err *e)
{
	static const struct vhdx_guid none;
	struct image *below = img->backing;
	struct vhdx_guid was, now;

	if (below->drv != &vhdx_driver)
		return 0;
	was = vhdx_of(below)->h.data_write;
	if (vhdx_guid_new(&now, e) || set_linkage(img, &was, &now, e))
		return -1;
	if (vhdx_set_data_guid(below, &now, e))
		return image_fail(below, e);
	return set_linkage(img, &now, &none, e);
}

/* ---- all of it goes --------------------------------------------------- */

static int empty_all(struct image *img, struct err *e)
{
	const struct vhdx *q = vhdx_of(img);
	uint64_t block_n = vhdx_block_n(q), entry;

	for (uint64_t i = 0; i < block_n; i++) {
		if (vhdx_block_get(img, i, &entry, e))
			return -1;
		if (vhdx_state(entry) == VHDX_NOT_PRESENT)
			continue;
		if (vhdx_bat_set(img, vhdx_bat_ix(q, i), VHDX_NOT_PRESENT, e) ||
		    (vhdx_has_space(entry) &&
			image_retire(img, vhdx_host(entry), q->m.block_len,
			    true, true, e)))
			return -1;
	}
	return 0;
}

int vhdx_make_empty(struct image *img, struct err *e)
{
	int rc;

	rwlock_excl(&img->meta);
	rc = empty_all(img, e);
	rwlock_excl_end(&img->meta);
	return rc || image_commit(img, e) ? image_fail(img, e) : 0;
}
