/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Growing and shrinking a disk.
 *
 * The size changes last, through the log, together with the place of the BAT
 * where that had to move: what a larger disk shows is there before, and what a
 * smaller one cuts off is gone before.  The gate is closed.
 */
#include <errno.h>
#include <stdlib.h>

#include "../core/duplicate.h"
#include "../core/prealloc.h"
#include "../core/request.h"
#include "../core/resize.h"
#include "../core/write.h"
#include "vhdx.h"

/* What one step of the log changes. */
struct change {
	uint8_t size[VHDX_SECTOR];	  /* the sector with the item */
	uint8_t (*table)[VHDX_TABLE_LEN]; /* both region tables, or NULL */
};

/* ---- the BAT ----------------------------------------------------------------
 */

/* The file has a longer copy of the BAT, which nothing names yet. */
static int new_bat(
    struct image *img, uint64_t bat_n, struct vhdx_region *bat, struct err *e)
{
	const struct vhdx_region *old = &vhdx_of(img)->bat;
	uint64_t len = round_up(bat_n * 8, VHDX_UNIT);
	int rc;

	rwlock_excl(&img->meta);
	rc = vhdx_space_take(img, len, &bat->host, e);
	rwlock_excl_end(&img->meta);
	bat->len = (uint32_t)len;
	if (rc)
		return -1;
	if (host_grow(img->file, bat->host + len, e) ||
	    duplicate(img->file, old->host, bat->host, old->len, e)) {
		rwlock_excl(&img->meta);
		space_give(&vhdx_of(img)->space, bat->host, len);
		rwlock_excl_end(&img->meta);
		return -1;
	}
	return 0;
}

static int clear_entry(struct image *img, uint64_t ix, struct err *e)
{
	uint64_t entry;

	if (vhdx_bat_get(img, ix, &entry, e))
		return -1;
	return entry ? vhdx_bat_set(img, ix, 0, e) : 0;
}

/* Blocks [from, to) were not in the disk: nothing is there yet. */
static int clear_blocks(
    struct image *img, uint64_t from, uint64_t to, struct err *e)
{
	const struct vhdx *q = vhdx_of(img);
	int rc = 0;

	rwlock_excl(&img->meta);
	for (; from < to && !rc; from++) {
		rc = clear_entry(img, vhdx_bat_ix(q, from), e);
		if (!rc && from % q->chunk_n == 0 && q->m.has_parent)
			rc = clear_entry(img, vhdx_bitmap_ix(q, from), e);
	}
	rwlock_excl_end(&img->meta);
	return rc;
}

/* ---- the switch ------------------------------------------------------- */

static int read_tables(struct image *img, struct change *c,
    const struct vhdx_region *bat, struct err *e)
{
	c->table = malloc(2 * sizeof *c->table);
	if (!c->table)
		return err_nomem(e);
	for (unsigned i = 0; i < 2; i++)
		if (host_pread(img->file, c->table[0], VHDX_TABLE_LEN,
			VHDX_REGION_HOST + i * VHDX_TABLE_LEN, e))
			return -1;
		else if (!vhdx_regions_fault(c->table[0]))
			break;
	vhdx_regions_move_bat(c->table[0], bat);
	memcpy(c->table[1], c->table[0], VHDX_TABLE_LEN);
	return 0;
}

static size_t fill_sectors(
    const struct vhdx *q, const struct change *c, struct vhdx_sector *sector)
{
	const size_t per_table = VHDX_TABLE_LEN / VHDX_SECTOR;
	size_t n = 0;

	sector[n++] = (struct vhdx_sector){
	    round_down(q->m.size_host, VHDX_SECTOR), c->size};
	for (size_t i = 0; c->table && i < 2 * per_table; i++)
		sector[n++] =
		    (struct vhdx_sector){VHDX_REGION_HOST + i * VHDX_SECTOR,
			c->table[i / per_table] + i % per_table * VHDX_SECTOR};
	return n;
}

/* bat: where the BAT goes, NULL: it stays. */
static int switch_size(struct image *img, uint64_t size,
    const struct vhdx_region *bat, struct err *e)
{
	struct vhdx *q = vhdx_of(img);
	struct vhdx_sector sector[2 * VHDX_TABLE_LEN / VHDX_SECTOR + 1];
	struct change c = {.table = NULL};
	uint64_t at = q->m.size_host % VHDX_SECTOR;
	int rc;

	rc = host_pread(img->file, c.size, VHDX_SECTOR, q->m.size_host - at, e);
	if (!rc && bat)
		rc = read_tables(img, &c, bat, e);
	put_le64(c.size + at, size);
	if (!rc &&
	    (vhdx_log_write(img, sector, fill_sectors(q, &c, sector), e) ||
		host_sync(img->file, e)))
		rc = image_fail(img, e);
	free(c.table);
	if (rc)
		return -1;
	return vhdx_load(img, e) ? image_fail(img, e) : 0;
}

/* ---- growing ---------------------------------------------------------- */

/* The BAT has room, and says of new blocks that they are not there. */
static int make_room(struct image *img, uint64_t size, struct err *e)
{
	const struct vhdx *q = vhdx_of(img);
	const struct vhdx_region old = q->bat;
	struct vhdx_region bat;
	uint64_t bat_n =
	    vhdx_bat_n(size, q->m.block_len, q->m.sector_len, q->m.has_parent);

	if (bat_n > old.len / 8) {
		if (new_bat(img, bat_n, &bat, e) ||
		    switch_size(img, img_size(img), &bat, e))
			return -1;
		rwlock_excl(&img->meta);
		space_give(&vhdx_of(img)->space, old.host, old.len);
		rwlock_excl_end(&img->meta);
	}
	if (clear_blocks(img, vhdx_block_n(q), div_up(size, q->m.block_len), e))
		return -1;
	return image_commit(img, e);
}

/* A fixed disk has all of its blocks. */
static enum img_prealloc at_least(const struct vhdx *q, enum img_prealloc how)
{
	return q->m.keeps_blocks && how == IMG_PREALLOC_OFF
		   ? IMG_PREALLOC_METADATA
		   : how;
}

static int fill(struct image *img, uint64_t old, uint64_t size,
    enum img_prealloc how, struct err *e)
{
	if (resize_hide(img, old, size, e))
		return -1;
	how = at_least(vhdx_of(img), how);
	if (how == IMG_PREALLOC_OFF)
		return 0;
	return img_preallocate(img, old, size, how, e);
}

static void set_size(struct image *img, uint64_t size)
{
	vhdx_of(img)->m.size = size;
	atomic_store(&img->size, size);
}

static int grow(
    struct image *img, uint64_t size, enum img_prealloc how, struct err *e)
{
	uint64_t old = img_size(img);
	int rc;

	if (make_room(img, size, e))
		return -1;
	set_size(img, size);
	rc = fill(img, old, size, how, e);
	if (!rc)
		rc = image_commit(img, e);
	set_size(img, old);
	return rc ? -1 : switch_size(img, size, NULL, e);
}

/* ---- shrinking -------------------------------------------------------- */

static int drop_entry(
    struct image *img, uint64_t ix, uint64_t len, struct err *e)
{
	uint64_t entry;

	if (vhdx_bat_get(img, ix, &entry, e))
		return -1;
	if (!entry)
		return 0;
	if (vhdx_bat_set(img, ix, VHDX_NOT_PRESENT, e))
		return -1;
	return vhdx_has_space(entry)
		   ? image_retire(img, vhdx_host(entry), len, true, true, e)
		   : 0;
}

/* Blocks that are all behind the end, and the bitmaps of their chunks. */
static int drop(struct image *img, uint64_t size, struct err *e)
{
	const struct vhdx *q = vhdx_of(img);
	uint64_t block_n = vhdx_block_n(q);
	int rc = 0;

	rwlock_excl(&img->meta);
	for (uint64_t i = div_up(size, q->m.block_len); i < block_n && !rc;
	     i++) {
		rc = drop_entry(img, vhdx_bat_ix(q, i), q->m.block_len, e);
		if (!rc && i % q->chunk_n == 0 && q->m.has_parent)
			rc =
			    drop_entry(img, vhdx_bitmap_ix(q, i), VHDX_UNIT, e);
	}
	rwlock_excl_end(&img->meta);
	return rc;
}

/* What is free at the end of the file. */
static int cut_file(struct image *img, struct err *e)
{
	uint64_t end = space_end(&vhdx_of(img)->space);

	if (img->file->fixed_size || end >= host_size(img->file))
		return 0;
	/* Until then the log knows of a longer file. */
	return vhdx_log_end(img, e) || host_truncate(img->file, end, e) ? -1
									: 0;
}

int vhdx_resize(
    struct image *img, uint64_t size, enum img_prealloc prealloc, struct err *e)
{
	const struct vhdx *q = vhdx_of(img);

	if (!is_aligned(size, q->m.sector_len))
		return err_usage(e, "The new size must be a multiple of %u",
		    q->m.sector_len);
	if (size > VHDX_SIZE_MAX)
		return err_set(
		    e, ERR_USAGE, EFBIG, "Image size too large; max of 64TB");
	if (image_commit(img, e) || write_announce(img, e))
		return -1;
	if (size >= img_size(img))
		return grow(img, size, prealloc, e);
	if (drop(img, size, e) || image_commit(img, e))
		return image_fail(img, e);
	return switch_size(img, size, NULL, e) ? -1 : cut_file(img, e);
}
