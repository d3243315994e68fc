/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Block tables of a dmg: see dmg.h.
 *
 * A table is a header with the first sector of its part of the disk, where its
 * data begins in the data fork, and the number of chunks that follow.
 */
#include <stdlib.h>

#include "dmg.h"

#define HEADER_LEN 204u
#define CHUNK_LEN  40u

enum codec dmg_codec(uint32_t type)
{
	switch (type) {
	case (uint32_t)DMG_ADC:
		return CODEC_ADC;
	case (uint32_t)DMG_ZLIB:
		return CODEC_ZLIB;
	case (uint32_t)DMG_BZIP2:
		return CODEC_BZIP2;
	case (uint32_t)DMG_LZFSE:
		return CODEC_LZFSE;
	case (uint32_t)DMG_XZ:
		return CODEC_XZ;
	default:
		return CODEC_NONE;
	}
}

static int bad_chunk(const struct dmg *d, const struct dmg_chunk *c,
    uint64_t stored, const char *why, struct err *e)
{
	return err_damaged(e,
	    "%s: dmg chunk of type 0x%x: %llu sectors from %llu in %llu bytes "
	    "at %llu: %s",
	    d->name, c->type, (unsigned long long)c->sectors,
	    (unsigned long long)c->sector, (unsigned long long)stored,
	    (unsigned long long)c->host, why);
}

/* Where it is in the file is looked at when it is read. */
static int check_chunk(const struct dmg *d, const struct dmg_chunk *c,
    uint64_t stored, struct err *e)
{
	uint64_t end;

	if (!add_ok(c->sector, c->sectors, &end) ||
	    end > IMG_SIZE_MAX / SECTOR_LEN)
		return bad_chunk(d, c, stored, "no disk has so many", e);
	if (c->type == DMG_RAW && stored != c->sectors * SECTOR_LEN)
		return bad_chunk(d, c, stored, "they do not fit", e);
	if (dmg_codec(c->type) == CODEC_NONE)
		return 0;
	if (c->sectors > CODEC_UNIT_MAX / SECTOR_LEN)
		return bad_chunk(d, c, stored, "allowed are 131072 sectors", e);
	if (!stored || stored > CODEC_UNIT_MAX)
		return bad_chunk(
		    d, c, stored, "allowed are 1 to 67108864 bytes", e);
	return 0;
}

static int append(struct dmg *d, const struct dmg_chunk *c, struct err *e)
{
	if (d->n == d->max) {
		size_t max = d->max ? d->max * 2 : 64;
		struct dmg_chunk *more = realloc(d->chunk, max * sizeof *more);

		if (!more)
			return err_nomem(e);
		d->chunk = more;
		d->max = max;
	}
	d->chunk[d->n++] = *c;
	return 0;
}

/* `first` sector and `data` offset of the table that has it. */
static int add_chunk(struct dmg *d, const uint8_t *p, uint64_t first,
    uint64_t data, struct err *e)
{
	uint64_t stored = be64(p + 32);
	struct dmg_chunk c = {
	    .type = be32(p), .sectors = be64(p + 16), .table = d->table_n - 1};

	if (c.type == DMG_COMMENT || c.type == (uint32_t)DMG_END || !c.sectors)
		return 0;
	if (!add_ok(first, be64(p + 8), &c.sector))
		return bad_chunk(d, &c, stored, "no disk has so many", e);
	if (!add_ok(data, be64(p + 24), &c.host))
		c.host = UINT64_MAX;
	if (check_chunk(d, &c, stored, e))
		return -1;
	if (dmg_codec(c.type) != CODEC_NONE)
		c.stored = (uint32_t)stored;
	return append(d, &c, e);
}

/* `p`: its header. */
static int append_table(struct dmg *d, const uint8_t *p, struct err *e)
{
	struct dmg_table *more =
	    realloc(d->table, (d->table_n + 1) * sizeof *more);

	if (!more)
		return err_nomem(e);
	d->table = more;
	more += d->table_n++;
	more->sector = be64(p + 8);
	more->has_crc = dmg_crc(p + 64, &more->crc);
	return 0;
}

int dmg_add_table(
    struct dmg *d, const uint8_t *table, size_t len, struct err *e)
{
	uint64_t first, data;
	uint32_t n;

	if (len < 4 || memcmp(table, "mish", 4))
		return 0;
	if (len < HEADER_LEN)
		return err_damaged(
		    e, "%s: dmg block table of %zu bytes", d->name, len);
	first = be64(table + 8);
	n = be32(table + 200);
	if (n > (len - HEADER_LEN) / CHUNK_LEN)
		return err_damaged(e,
		    "%s: dmg block table of %zu bytes: no room for its %u "
		    "chunks",
		    d->name, len, n);
	if (!add_ok(d->data, be64(table + 24), &data))
		return err_damaged(e,
		    "%s: dmg block table: its data begins at %llu in the data "
		    "fork",
		    d->name, (unsigned long long)be64(table + 24));
	if (append_table(d, table, e))
		return -1;
	for (uint32_t i = 0; i < n; i++)
		if (add_chunk(d, table + HEADER_LEN + (size_t)i * CHUNK_LEN,
			first, data, e))
			return -1;
	return 0;
}
