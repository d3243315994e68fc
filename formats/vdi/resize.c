/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Growing and shrinking a VDI disk.
 *
 * The header's only sector names the map, the size and where blocks begin: one
 * write of it puts all of them in force (I6).
 *
 * A map that becomes too long for its place goes to another one, behind the
 * header where it fits, else to where blocks were: those in the way are moved
 * to the end of the file first, and the rest is numbered from the new start of
 * the blocks.
 *
 *   header | map ....| block 0 | block 1 | block 2 ...
 *   header | (old)   |    new map   |    | block 0 ...
 *
 * The gate is closed.
 */
#include <errno.h>

#include "../core/prealloc.h"
#include "../core/request.h"
#include "../core/resize.h"
#include "../core/write.h"
#include "vdi.h"

#define PIECE_N 16384u /* entries that are written at once */

/* What the new part of the disk is in the map: what is below must not show. */
static uint32_t new_entry(const struct image *img)
{
	return img->has_backing ? VDI_ZERO : VDI_HOLE;
}

/* ---- the map ------------------------------------------------------------- */

/*
 * Write the map for block_n blocks to `host`, where it overlaps nothing that is
 * in use; entries from `ix` on.  Blocks begin `shift` numbers later than now.
 */
static int store_map(struct image *img, uint64_t host, uint64_t ix,
    uint64_t block_n, uint32_t shift, struct err *e)
{
	struct vdi *v = vdi_of(img);
	uint8_t buf[4 * PIECE_N];

	while (ix < block_n) {
		uint64_t n = min_u64(block_n - ix, PIECE_N);

		for (uint64_t i = 0; i < n; i++) {
			uint32_t entry = new_entry(img);
			struct flat_block b;

			if (ix + i < v->h.block_n &&
			    flat_get(&v->f, ix + i, &b, e))
				return -1;
			if (ix + i < v->h.block_n) {
				v->f.ops->encode(&v->f, buf + 4 * i, &b);
				entry = le32(buf + 4 * i);
				entry -= b.kind == EXT_DATA ? shift : 0;
			}
			put_le32(buf + 4 * i, entry);
		}
		if (host_pwrite(img->file, buf, 4 * n, host + 4 * ix, e))
			return -1;
		ix += n;
	}
	return 0;
}

int vdi_switch_header(struct image *img, struct err *e)
{
	int rc;

	rwlock_excl(&img->meta);
	rc = vdi_header_update(img, e);
	rwlock_excl_end(&img->meta);
	if (rc || image_commit(img, e))
		return image_fail(img, e);
	return 0;
}

/* Where a map of that length could go, without moving a block; 0: nowhere. */
static uint64_t place_for(const struct vdi_header *h, uint64_t len)
{
	uint64_t behind = round_up(h->map_host + 4ull * h->block_n, SECTOR_LEN);

	if (VDI_HEADER_LEN + len <= h->map_host)
		return VDI_HEADER_LEN;
	return behind + len <= h->data_host ? behind : 0;
}

/* Free the place of the first blocks; *shift of them. */
static int clear_way(
    struct image *img, uint64_t len, uint32_t *shift, struct err *e)
{
	struct vdi *v = vdi_of(img);
	uint64_t base = v->f.space.base, n = div_up(len, v->f.space_len);

	*shift = (uint32_t)n;
	if (base + n * v->f.space_len > UINT32_MAX)
		return err_set(e, ERR_UNSUPPORTED, EFBIG,
		    "%s: the blocks of a VDI file cannot begin past 4 GiB",
		    img->name);
	if (flat_move(&v->f, base, base + n * v->f.space_len, e))
		return -1;
	return host_grow(img->file, base + n * v->f.space_len, e);
}

/* Blocks begin `shift` later: the same bytes with other numbers. */
static void shift_blocks(struct vdi *v, uint32_t shift)
{
	v->h.data_host += shift * v->f.space_len;
	v->h.used_n = shift < v->h.used_n ? v->h.used_n - shift : 0;
}

/* A longer map for block_n blocks, and the header that names it. */
static int move_map(struct image *img, uint64_t block_n, struct err *e)
{
	struct vdi *v = vdi_of(img);
	uint64_t len = 4 * block_n, host = place_for(&v->h, len);
	uint32_t shift = 0;

	if (!host) {
		host = v->h.data_host;
		if (clear_way(img, len, &shift, e))
			return -1;
	}
	if (store_map(img, host, 0, block_n, shift, e) ||
	    host_sync(img->file, e))
		return -1;
	shift_blocks(v, shift);
	v->h.map_host = host;
	v->h.block_n = (uint32_t)block_n;
	if (vdi_switch_header(img, e))
		return -1;
	flat_use_table(&v->f, host, block_n);
	v->f.space.base = v->h.data_host;
	return flat_scan(&v->f, NULL, e);
}

/* The map gets longer, the disk not yet. */
static int grow_map(struct image *img, uint64_t block_n, struct err *e)
{
	struct vdi *v = vdi_of(img);

	if (v->h.map_host + 4 * block_n > v->h.data_host)
		return move_map(img, block_n, e);
	if (store_map(img, v->h.map_host, v->h.block_n, block_n, 0, e) ||
	    host_sync(img->file, e))
		return -1;
	v->h.block_n = (uint32_t)block_n;
	if (vdi_switch_header(img, e))
		return -1;
	flat_use_table(&v->f, v->h.map_host, block_n);
	return 0;
}

/* ---- both ways ----------------------------------------------------------- */

static int grow(
    struct image *img, uint64_t size, enum img_prealloc how, struct err *e)
{
	struct vdi *v = vdi_of(img);
	uint64_t old = img_size(img), block_n = div_up(size, v->h.block_len);
	int rc;

	if (block_n > v->h.block_n && grow_map(img, block_n, e))
		return -1;
	if (how == IMG_PREALLOC_OFF && v->h.type == VDI_STATIC)
		how = IMG_PREALLOC_METADATA;
	atomic_store(&img->size, size);
	rc = resize_hide(img, old, size, e);
	if (!rc && how != IMG_PREALLOC_OFF)
		rc = img_preallocate(
		    img, round_up(old, v->h.block_len), size, how, e);
	if (!rc)
		rc = image_commit(img, e);
	if (rc)
		atomic_store(&img->size, old);
	return rc;
}

/* Blocks that are cut off are given back, once no entry names them. */
static int drop(struct image *img, uint64_t size, struct err *e)
{
	struct vdi *v = vdi_of(img);
	int rc;

	v->f.keeps_data = false;
	rc = resize_drop(img, size, e);
	v->f.keeps_data = true;
	return rc || image_commit(img, e) ? -1 : 0;
}

int vdi_close_holes(struct image *img, struct err *e)
{
	struct vdi *v = vdi_of(img);
	uint64_t end;

	if (flat_compact(&v->f, e))
		return -1;
	end = space_end(&v->f.space);
	if (vdi_used_n(v) != v->h.used_n) {
		v->h.used_n = vdi_used_n(v);
		if (vdi_switch_header(img, e))
			return -1;
	}
	return img->file->fixed_size || host_size(img->file) <= end
		   ? 0
		   : host_truncate(img->file, end, e);
}

int vdi_resize(
    struct image *img, uint64_t size, enum img_prealloc how, struct err *e)
{
	struct vdi *v = vdi_of(img);
	uint64_t old = img_size(img);

	if (!is_aligned(size, SECTOR_LEN))
		return err_usage(e, "The new size must be a multiple of 512");
	if (div_up(size, v->h.block_len) > VDI_ZERO ||
	    size > max_u64(VDI_SIZE_MAX, old))
		return err_set(e, ERR_USAGE, EFBIG,
		    "Unsupported VDI image size (size is 0x%llx, max supported "
		    "is 0x%llx)",
		    (unsigned long long)size, VDI_SIZE_MAX);
	if (image_commit(img, e) || write_announce(img, e))
		return -1;
	if (size > old ? grow(img, size, how, e) : drop(img, size, e))
		return -1;
	v->h.size = size;
	if (size < old)
		v->h.block_n = (uint32_t)div_up(size, v->h.block_len);
	if (vdi_switch_header(img, e))
		return -1;
	flat_use_table(&v->f, v->h.map_host, v->h.block_n);
	atomic_store(&img->size, size);
	return size < old ? vdi_close_holes(img, e) : 0;
}
