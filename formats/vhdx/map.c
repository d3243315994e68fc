/* SPDX-License-Identifier: BSD-3-Clause */
/* BAT entries, and what is at a guest offset. */
#include <errno.h>

#include "../core/maprun.h"
#include "vhdx.h"

uint64_t vhdx_block_n(const struct vhdx *q)
{
	return div_up(q->m.size, q->m.block_len);
}

uint64_t vhdx_bat_n(
    uint64_t size, uint32_t block_len, uint32_t sector_len, bool has_parent)
{
	uint64_t chunk_n = VHDX_BITMAP_BITS * sector_len / block_len;
	uint64_t block_n = div_up(size, block_len);

	if (has_parent)
		return div_up(block_n, chunk_n) * (chunk_n + 1);
	return block_n ? block_n + (block_n - 1) / chunk_n : 0;
}

int vhdx_damaged_entry(const struct image *img, uint64_t ix, uint64_t entry,
    const char *why, struct err *e)
{
	return err_set(e, ERR_DAMAGED, EIO,
	    "%s: BAT entry %llu (%#llx) %s; the file has %llu bytes", img->name,
	    (unsigned long long)ix, (unsigned long long)entry, why,
	    (unsigned long long)host_size(img->file));
}

/* The piece of the BAT that has entry ix. */
static struct table *piece_of(struct image *img, uint64_t ix, struct err *e)
{
	struct vhdx *q = vhdx_of(img);

	return tables_get(q->tables,
	    q->bat.host + round_down(ix * 8, VHDX_SECTOR), VHDX_SECTOR,
	    TABLE_MAP, e);
}

int vhdx_bat_get(struct image *img, uint64_t ix, uint64_t *entry, struct err *e)
{
	struct table *t = piece_of(img, ix, e);

	if (!t)
		return -1;
	*entry = le64(t->data + ix * 8 % VHDX_SECTOR);
	tables_put(vhdx_of(img)->tables, t);
	return 0;
}

int vhdx_bat_set(struct image *img, uint64_t ix, uint64_t entry, struct err *e)
{
	struct tables *ts = vhdx_of(img)->tables;
	struct table *t = piece_of(img, ix, e);
	int rc;

	if (!t)
		return -1;
	rc = tables_change(ts, t, e);
	if (!rc)
		put_le64(t->data + ix * 8 % VHDX_SECTOR, entry);
	tables_put(ts, t);
	return rc;
}

/* What an entry points to must begin in the file, or in what it will grow to.
 */
static uint64_t file_end(const struct vhdx *q)
{
	uint64_t end = host_size(q->file);

	return q->space.unit_len ? max_u64(end, space_end(&q->space)) : end;
}

const char *vhdx_entry_fault(const struct vhdx *q, uint64_t entry, bool bitmap)
{
	unsigned state = entry & VHDX_STATE_MASK;

	if (state == 4 || state == 5 ||
	    (bitmap && state != VHDX_NOT_PRESENT && state != VHDX_FULL))
		return "has an unknown state";
	if (state == VHDX_PART && !q->m.has_parent)
		return "is partly present, in an image without a parent";
	if (vhdx_has_space(entry) &&
	    (vhdx_host(entry) < VHDX_UNIT || vhdx_host(entry) >= file_end(q)))
		return "points out of the file";
	return NULL;
}

static int checked_get(
    struct image *img, uint64_t ix, bool bitmap, uint64_t *entry, struct err *e)
{
	const char *fault;

	if (vhdx_bat_get(img, ix, entry, e))
		return -1;
	fault = vhdx_entry_fault(vhdx_of(img), *entry, bitmap);
	return fault ? vhdx_damaged_entry(img, ix, *entry, fault, e) : 0;
}

int vhdx_block_get(
    struct image *img, uint64_t block_ix, uint64_t *entry, struct err *e)
{
	return checked_get(
	    img, vhdx_bat_ix(vhdx_of(img), block_ix), false, entry, e);
}

int vhdx_bitmap_host(
    struct image *img, uint64_t block_ix, uint64_t *host, struct err *e)
{
	uint64_t entry;

	if (checked_get(
		img, vhdx_bitmap_ix(vhdx_of(img), block_ix), true, &entry, e))
		return -1;
	*host = vhdx_has_space(entry) ? vhdx_host(entry) : 0;
	return 0;
}

uint64_t vhdx_bit(const struct vhdx *q, uint64_t guest)
{
	return guest / q->m.sector_len % VHDX_BITMAP_BITS;
}

/* A block that has some of its sectors. */
static int map_part(
    struct image *img, uint64_t block_ix, struct extent *x, struct err *e)
{
	const struct vhdx *q = vhdx_of(img);
	uint32_t sector_len = q->m.sector_len;
	uint64_t first = x->guest / sector_len, host, run;
	bool here;

	if (vhdx_bitmap_host(img, block_ix, &host, e))
		return -1;
	if (!host)
		return vhdx_damaged_entry(img, vhdx_bitmap_ix(q, block_ix), 0,
		    "has no bitmap for a block that is partly present", e);
	if (vhdx_bits_run(img, host, vhdx_bit(q, x->guest),
		div_up(x->guest + x->len, sector_len) - first, &run, &here, e))
		return -1;
	x->kind = here ? EXT_DATA : EXT_HOLE;
	x->len = min_u64(x->len, (first + run) * sector_len - x->guest);
	return 0;
}

static int look(struct image *img, uint64_t guest, uint64_t len,
    struct extent *x, struct err *e)
{
	const struct vhdx *q = vhdx_of(img);
	uint64_t block_ix = guest / q->m.block_len;
	uint64_t in_block = guest % q->m.block_len, entry;

	if (vhdx_block_get(img, block_ix, &entry, e))
		return -1;
	x->len = min_u64(len, q->m.block_len - in_block);
	switch (vhdx_state(entry)) {
	case VHDX_NOT_PRESENT:
		x->kind = EXT_HOLE;
		return 0;
	case VHDX_UNDEFINED:
	case VHDX_ZERO:
	case VHDX_UNMAPPED:
		x->kind = EXT_ZERO;
		return 0;
	case VHDX_FULL:
		x->kind = EXT_DATA;
		break;
	case VHDX_PART:
		if (map_part(img, block_ix, x, e))
			return -1;
		break;
	}
	if (x->kind == EXT_DATA) {
		x->file = q->file;
		x->host = vhdx_host(entry) + in_block;
	}
	return 0;
}

int vhdx_map(struct image *img, uint64_t guest, uint64_t len, struct extent *x,
    struct err *e)
{
	return maprun(img, look, guest, len, x, e);
}
