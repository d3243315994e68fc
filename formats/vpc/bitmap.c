/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * VHD blocks with a bitmap before the data: mapping and writing.  See vpc.h.
 *
 * A new block of a dynamic disk is whole: what is not written is zeroes, and
 * all bits are set, for readers that pass over the bitmap.  One of a
 * differencing disk has the bits of what is written.
 */
#include <errno.h>

#include "../core/maprun.h"
#include "block.h"

/* Sectors of a bitmap: the first one is the highest bit of the first byte. */
static bool has_sector(const uint8_t *bitmap, uint64_t sector)
{
	return bitmap[sector / 8] >> (7 - sector % 8) & 1;
}

static void set_sectors(uint8_t *bitmap, uint64_t first, uint64_t n)
{
	for (; n && first % 8; first++, n--)
		bitmap[first / 8] |= (uint8_t)(1u << (7 - first % 8));
	memset(bitmap + first / 8, 0xff, n / 8);
	first += n / 8 * 8;
	for (n %= 8; n; first++, n--)
		bitmap[first / 8] |= (uint8_t)(1u << (7 - first % 8));
}

/* Sectors of one kind from `first` on, at most n > 0. */
static uint64_t run_of(const uint8_t *bitmap, uint64_t first, uint64_t n)
{
	bool has = has_sector(bitmap, first);
	uint8_t all = has ? 0xff : 0;
	uint64_t i = 1;

	while (i < n) {
		uint64_t at = first + i;

		if (at % 8 == 0 && n - i >= 8 && bitmap[at / 8] == all)
			i += 8;
		else if (has_sector(bitmap, at) == has)
			i++;
		else
			break;
	}
	return i;
}

static struct table *bitmap_of(
    struct image *img, const struct flat_block *b, struct err *e)
{
	const struct vpc *v = vpc_of(img);

	return tables_get(v->flat.tables, b->host, v->bitmap_len, TABLE_MAP, e);
}

/* ---- map -------------------------------------------------------------- */

static bool is_shared(const struct flat *f, const struct flat_block *b)
{
	return space_shared(&f->space, b->host, f->space_len);
}

static enum ext_kind nothing(const struct image *img)
{
	return vpc_of(img)->footer.type == VPC_DIFF ? EXT_HOLE : EXT_ZERO;
}

/* In a block: as far as the bits go on. */
static int look_inside(struct image *img, const struct flat_block *b,
    struct extent *x, struct err *e)
{
	const struct flat *f = flat_of(img);
	uint64_t in_block = x->guest % f->block_len;
	uint64_t first = in_block / SECTOR_LEN;
	uint64_t end = div_up(in_block + x->len, SECTOR_LEN), n;
	struct table *t = bitmap_of(img, b, e);
	bool has;

	if (!t)
		return -1;
	has = has_sector(t->data, first);
	n = run_of(t->data, first, end - first);
	tables_put(f->tables, t);
	x->len = min_u64(x->len, (first + n) * SECTOR_LEN - in_block);
	x->kind = has ? EXT_DATA : nothing(img);
	x->file = img->file;
	x->host = b->host + f->lead_len + in_block;
	if (!has)
		x->flags = EXT_F_SPACE;
	else if (is_shared(f, b))
		x->flags = EXT_F_SHARED;
	return 0;
}

static int look(struct image *img, uint64_t guest, uint64_t len,
    struct extent *x, struct err *e)
{
	struct flat *f = flat_of(img);
	struct flat_block b;

	if (flat_get(f, guest / f->block_len, &b, e))
		return -1;
	x->len = min_u64(len, f->block_len - guest % f->block_len);
	x->kind = nothing(img);
	return b.kind == EXT_DATA ? look_inside(img, &b, x, e) : 0;
}

int vpc_block_map(struct image *img, uint64_t guest, uint64_t len,
    struct extent *x, struct err *e)
{
	return maprun(img, look, guest, len, x, e);
}

/* ---- reserve ---------------------------------------------------------- */

/* The sectors of [guest, guest + len) in the block of `guest`. */
static void reserve_sectors(
    const struct flat *f, uint64_t guest, uint64_t len, struct reservation *r)
{
	uint64_t block_end = guest - guest % f->block_len + f->block_len;

	r->guest = round_down(guest, SECTOR_LEN);
	r->len =
	    min_u64(round_up(guest + len, SECTOR_LEN), block_end) - r->guest;
}

/* In a block that is there: up to the next sector that has data. */
static int reserve_inside(struct image *img, const struct flat_block *b,
    uint64_t guest, uint64_t len, struct reservation *r, struct err *e)
{
	const struct flat *f = flat_of(img);
	struct table *t = bitmap_of(img, b, e);
	uint64_t first, n;

	if (!t)
		return -1;
	reserve_sectors(f, guest, len, r);
	first = r->guest % f->block_len / SECTOR_LEN;
	n = run_of(t->data, first, r->len / SECTOR_LEN);
	tables_put(f->tables, t);
	r->len = n * SECTOR_LEN;
	r->host = b->host + f->lead_len + r->guest % f->block_len;
	r->owned = true;
	return 0;
}

static int reserve_new(struct image *img, bool whole, uint64_t guest,
    uint64_t len, struct reservation *r, struct err *e)
{
	struct flat *f = flat_of(img);
	uint64_t host, n;

	if (flat_take(f, 1, &host, &n, e))
		return -1;
	if (whole) {
		r->guest = guest - guest % f->block_len;
		r->len = f->block_len;
	} else {
		reserve_sectors(f, guest, len, r);
	}
	r->host = host + f->lead_len + r->guest % f->block_len;
	/* The footer may have been where the bitmap goes now. */
	r->zeroed = r->host >= host_size(img->file);
	return 0;
}

int vpc_block_reserve(struct image *img, uint64_t guest, uint64_t len,
    uint64_t stored, struct reservation *r, struct err *e)
{
	struct flat *f = flat_of(img);
	struct flat_block b;

	(void)stored;
	if (flat_get(f, guest / f->block_len, &b, e))
		return -1;
	r->file = img->file;
	if (b.kind == EXT_DATA && !is_shared(f, &b))
		return reserve_inside(img, &b, guest, len, r, e);
	return reserve_new(img,
	    b.kind == EXT_DATA || vpc_of(img)->footer.type != VPC_DIFF, guest,
	    len, r, e);
}

/* ---- publish, abandon ------------------------------------------------- */

static uint64_t block_host(const struct flat *f, const struct reservation *r)
{
	return r->host - f->lead_len - r->guest % f->block_len;
}

/* A bitmap that is not in the file yet. */
static struct table *new_bitmap(struct image *img, uint64_t host, struct err *e)
{
	const struct vpc *v = vpc_of(img);

	return tables_new(v->flat.tables, host, v->bitmap_len, TABLE_MAP, e);
}

int vpc_block_publish(
    struct image *img, const struct reservation *r, struct err *e)
{
	struct flat *f = flat_of(img);
	struct flat_block b = {.kind = EXT_DATA, .host = block_host(f, r)};
	struct table *t =
	    r->owned ? bitmap_of(img, &b, e) : new_bitmap(img, b.host, e);
	int rc;

	if (!t)
		return -1;
	rc = tables_change(f->tables, t, e);
	if (!rc)
		set_sectors(t->data, r->guest % f->block_len / SECTOR_LEN,
		    r->len / SECTOR_LEN);
	tables_put(f->tables, t);
	if (rc || r->owned)
		return rc;
	return flat_put(f, r->guest / f->block_len, &b, e);
}

void vpc_block_abandon(struct image *img, const struct reservation *r)
{
	struct flat *f = flat_of(img);

	if (!r->owned)
		space_give(&f->space, block_host(f, r), f->space_len);
}

/* The next owner has another bitmap. */
int vpc_block_release(
    struct image *img, uint64_t host, uint64_t len, struct err *e)
{
	tables_forget(flat_of(img)->tables, host, len);
	return flat_release(img, host, len, e);
}
