/* SPDX-License-Identifier: BSD-3-Clause */
/* The driver of dmg images: see dmg.h. */
#include <errno.h>
#include <stdlib.h>

#include "../core/maprun.h"
#include "dmg.h"

/* Some images have the trailer at the start. */
static bool dmg_probe(const struct probe_in *p)
{
	if (p->head_len < DMG_TRAILER_LEN)
		return false;
	return dmg_is_trailer(p->head) ||
	       (p->tail_len >= DMG_TRAILER_LEN &&
		   dmg_is_trailer(p->tail + p->tail_len - DMG_TRAILER_LEN)) ||
	       !memcmp(p->head, "encrcdsa", 8) ||
	       !memcmp(p->tail + p->tail_len - 8, "cdsaencr", 8);
}

/* ---- opening ------------------------------------------------------------- */

static int compare_chunks(const void *a, const void *b)
{
	const struct dmg_chunk *x = a, *y = b;

	return (x->sector > y->sector) - (x->sector < y->sector);
}

/* A sector that two chunks have could be either. */
static int sort_chunks(struct dmg *d, struct err *e)
{
	if (d->n)
		qsort(d->chunk, d->n, sizeof *d->chunk, compare_chunks);
	for (size_t i = 1; i < d->n; i++) {
		const struct dmg_chunk *a = &d->chunk[i - 1], *b = a + 1;

		if (b->sector - a->sector < a->sectors)
			return err_damaged(e,
			    "%s: dmg chunks overlap: %llu sectors from %llu, "
			    "%llu from %llu",
			    d->name, (unsigned long long)a->sectors,
			    (unsigned long long)a->sector,
			    (unsigned long long)b->sectors,
			    (unsigned long long)b->sector);
	}
	return 0;
}

static uint32_t longest_packed(const struct dmg *d)
{
	uint64_t sectors = 0;

	for (size_t i = 0; i < d->n; i++)
		if (dmg_codec(d->chunk[i].type) != CODEC_NONE)
			sectors = max_u64(sectors, d->chunk[i].sectors);
	return (uint32_t)(sectors * SECTOR_LEN);
}

static void dmg_free(struct dmg *d)
{
	free(d->chunk);
	free(d->table);
	free(d);
}

static int dmg_open(struct image *img, struct options *o, struct err *e)
{
	struct dmg *d = calloc(1, sizeof *d);

	(void)o;
	if (!d)
		return err_nomem(e);
	d->name = img->name;
	if (dmg_read_trailer(d, img->file, e) ||
	    dmg_read_tables(d, img->file, e) || sort_chunks(d, e)) {
		dmg_free(d);
		return -1;
	}
	if (!d->sectors && d->n)
		d->sectors =
		    d->chunk[d->n - 1].sector + d->chunk[d->n - 1].sectors;
	img->priv = d;
	img->packed_len = longest_packed(d);
	atomic_store(&img->size, d->sectors * SECTOR_LEN);
	return 0;
}

static void dmg_close(struct image *img)
{
	dmg_free(img->priv);
}

/* ---- the mapping --------------------------------------------------------- */

/* The index of the first chunk that ends behind `guest`. */
static size_t find_chunk(const struct dmg *d, uint64_t guest)
{
	size_t lo = 0, hi = d->n;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;
		const struct dmg_chunk *c = &d->chunk[mid];

		if ((c->sector + c->sectors) * SECTOR_LEN > guest)
			hi = mid;
		else
			lo = mid + 1;
	}
	return lo;
}

static int map_stored(struct image *img, const struct dmg_chunk *c, uint64_t in,
    struct extent *x, struct err *e)
{
	uint64_t len = c->type == DMG_RAW ? c->sectors * SECTOR_LEN : c->stored;

	if (!range_ok(c->host, len, host_size(img->file)))
		return err_set(e, ERR_DAMAGED, EIO,
		    "%s: dmg chunk at sector %llu: %llu bytes at %llu, the "
		    "file has %llu",
		    img->name, (unsigned long long)c->sector,
		    (unsigned long long)len, (unsigned long long)c->host,
		    (unsigned long long)host_size(img->file));
	x->file = img->file;
	if (c->type == DMG_RAW) {
		x->kind = EXT_DATA;
		x->host = c->host + in;
		return 0;
	}
	x->kind = EXT_PACKED;
	x->host = c->host;
	x->packed.unit = c->sector * SECTOR_LEN;
	x->packed.unit_len = (uint32_t)(c->sectors * SECTOR_LEN);
	x->packed.stored = c->stored;
	x->packed.codec = (uint8_t)dmg_codec(c->type);
	return 0;
}

/* `in` bytes from the start of the chunk. */
static int map_chunk(struct image *img, const struct dmg_chunk *c, uint64_t in,
    struct extent *x, struct err *e)
{
	if (c->type == DMG_RAW || dmg_codec(c->type) != CODEC_NONE)
		return map_stored(img, c, in, x, e);
	if (c->type != DMG_ZERO && c->type != DMG_IGNORE)
		return err_unsupported(e,
		    "%s: dmg chunk at sector %llu: type 0x%x is not known",
		    img->name, (unsigned long long)c->sector, c->type);
	x->kind = c->type == DMG_ZERO ? EXT_ZERO : EXT_HOLE;
	return 0;
}

static int look(struct image *img, uint64_t guest, uint64_t len,
    struct extent *x, struct err *e)
{
	const struct dmg *d = img->priv;
	size_t ix = find_chunk(d, guest);
	const struct dmg_chunk *c = &d->chunk[ix];
	uint64_t start = ix < d->n ? c->sector * SECTOR_LEN : UINT64_MAX;

	if (start > guest) {
		x->kind = EXT_HOLE;
		x->len = min_u64(len, start - guest);
		return 0;
	}
	x->len = min_u64(len, start + c->sectors * SECTOR_LEN - guest);
	return map_chunk(img, c, guest - start, x, e);
}

static int dmg_map(struct image *img, uint64_t guest, uint64_t len,
    struct extent *x, struct err *e)
{
	return maprun(img, look, guest, len, x, e);
}

const struct driver dmg_driver = {
    .no_backing = true,
    .info = {.name = "dmg", .can_check = true},
    .read_only = true,
    .probe = dmg_probe,
    .open = dmg_open,
    .close = dmg_close,
    .map = dmg_map,
    .check = dmg_check,
};
