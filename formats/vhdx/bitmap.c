/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Sector bitmaps of a differencing disk: a bit for each sector of a chunk, set
 * where the block is partly here and has that sector.
 */
#include "vhdx.h"

#define PIECE_BITS (VHDX_SECTOR * 8ull)

/* The piece of the bitmap that has the bit. Bitmaps are written before the BAT
 * entries that make them count. */
static struct table *piece_of(
    struct image *img, uint64_t bitmap_host, uint64_t bit, struct err *e)
{
	return tables_get(vhdx_of(img)->tables,
	    bitmap_host + bit / PIECE_BITS * VHDX_SECTOR, VHDX_SECTOR,
	    TABLE_COUNT, e);
}

static bool bit_of(const uint8_t *data, uint64_t at)
{
	return data[at / 8] >> at % 8 & 1;
}

int vhdx_bits_run(struct image *img, uint64_t bitmap_host, uint64_t bit,
    uint64_t n, uint64_t *run, bool *set, struct err *e)
{
	struct table *t = piece_of(img, bitmap_host, bit, e);
	uint64_t first = bit % PIECE_BITS, at = first, end;

	if (!t)
		return -1;
	end = min_u64(first + n, PIECE_BITS);
	*set = bit_of(t->data, at);
	while (at < end) {
		if (!(at % 8) && end - at >= 8 &&
		    t->data[at / 8] == (*set ? 0xff : 0))
			at += 8;
		else if (bit_of(t->data, at) == *set)
			at++;
		else
			break;
	}
	*run = at - first;
	tables_put(vhdx_of(img)->tables, t);
	return 0;
}

static void put_bits(uint8_t *data, uint64_t at, uint64_t end, bool set)
{
	while (at < end) {
		if (!(at % 8) && end - at >= 8) {
			data[at / 8] = set ? 0xff : 0;
			at += 8;
			continue;
		}
		if (set)
			data[at / 8] |= (uint8_t)(1u << at % 8);
		else
			data[at / 8] &= (uint8_t) ~(1u << at % 8);
		at++;
	}
}

/* Are all bits as they should be? */
static bool all(const uint8_t *data, uint64_t at, uint64_t end, bool set)
{
	while (at < end && bit_of(data, at) == set)
		at++;
	return at == end;
}

int vhdx_bits_put(struct image *img, uint64_t bitmap_host, uint64_t bit,
    uint64_t n, bool set, struct err *e)
{
	struct tables *ts = vhdx_of(img)->tables;

	while (n) {
		uint64_t first = bit % PIECE_BITS;
		uint64_t end = min_u64(first + n, PIECE_BITS);
		struct table *t = piece_of(img, bitmap_host, bit, e);
		int rc = 0;

		if (!t)
			return -1;
		if (!all(t->data, first, end, set)) {
			rc = tables_change(ts, t, e);
			if (!rc)
				put_bits(t->data, first, end, set);
		}
		tables_put(ts, t);
		if (rc)
			return -1;
		bit += end - first;
		n -= end - first;
	}
	return 0;
}
