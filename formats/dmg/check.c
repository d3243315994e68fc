/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The check of a dmg: every chunk can be read, and the checksums are right.
 *
 * A table has the CRC-32 of all sectors of its part, but for those that do not
 * matter; the trailer has that of the checksums of the tables.
 */
#include <stdlib.h>
#include <zlib.h>

#include "../core/cleanup.h"
#include "../core/read.h"
#include "../core/readcheck.h"
#include "dmg.h"

#define STEP_LEN     MiB       /* of what is not packed, or longer than that: */
#define UNIT_LEN_MAX (4 * MiB) /* read in one go */

struct table_state {
	uLong crc;    /* so far */
	bool damaged; /* something of it cannot be read */
};

struct dmg_checker {
	struct readcheck c;
	const struct dmg *d;
	struct table_state *table;
	uint8_t *buf;
	size_t max; /* of buf */
};

/* The CRC of what has `crc`, and then `len` zeroes. */
static uLong add_zeroes(uLong crc, uint64_t len)
{
	uLong zeroes = crc32(0, (const Bytef *)"", 1); /* of `n` of them */

	for (uint64_t n = 1; len; len >>= 1, n <<= 1) {
		if (len & 1)
			crc = crc32_combine(crc, zeroes, (z_off_t)n);
		zeroes = crc32_combine(zeroes, zeroes, (z_off_t)n);
	}
	return crc;
}

static int grow(struct dmg_checker *k, size_t len, struct err *e)
{
	uint8_t *more;

	if (len <= k->max)
		return 0;
	more = realloc(k->buf, len);
	if (!more)
		return err_nomem(e);
	k->buf = more;
	k->max = len;
	return 0;
}

/* What is stored of the disk at `guest`.  1 it is there, 0 it is not. */
static int check_bytes(struct dmg_checker *k, struct table_state *t,
    uint64_t guest, size_t len, struct err *e)
{
	struct err one = ERR_INIT;

	if (grow(k, len, e))
		return -1;
	if (read_range(k->c.img, k->buf, len, guest, &one)) {
		readcheck_found(&k->c, &one);
		t->damaged = true;
		return 0;
	}
	t->crc = crc32(t->crc, k->buf, (uInt)len);
	return 1;
}

/* Most packed chunks whole; of others steps, up to the first that fails. */
static int check_stored(
    struct dmg_checker *k, const struct dmg_chunk *c, struct err *e)
{
	uint64_t len = c->sectors * SECTOR_LEN, step, at;
	bool packed = dmg_codec(c->type) != CODEC_NONE;
	int rc = 1;

	k->c.out->allocated++;
	k->c.out->packed += packed;
	for (at = 0; at < len && rc == 1; at += step) {
		step = packed && len <= UNIT_LEN_MAX
			   ? len
			   : min_u64(len - at, STEP_LEN);
		rc = check_bytes(k, &k->table[c->table],
		    c->sector * SECTOR_LEN + at, step, e);
	}
	return rc < 0 ? -1 : image_work(k->c.img, len, e);
}

static int check_chunk(
    struct dmg_checker *k, const struct dmg_chunk *c, struct err *e)
{
	struct table_state *t = &k->table[c->table];

	k->c.out->total++;
	if (c->type == DMG_IGNORE)
		return 0;
	if (c->type != DMG_ZERO)
		return check_stored(k, c, e);
	t->crc = add_zeroes(t->crc, c->sectors * SECTOR_LEN);
	return 0;
}

static void check_sums(struct dmg_checker *k)
{
	const struct dmg *d = k->d;
	uLong all = crc32(0, NULL, 0);
	uint8_t sum[4];

	for (uint32_t i = 0; i < d->table_n; i++) {
		const struct dmg_table *t = &d->table[i];
		const struct table_state *is = &k->table[i];

		if (t->has_crc && !is->damaged && t->crc != is->crc)
			readcheck_report(&k->c,
			    "ERROR: dmg part at sector %llu: its checksum is "
			    "%08lx, and should be %08x",
			    (unsigned long long)t->sector, is->crc, t->crc);
		put_be32(sum, t->crc);
		all = crc32(all, sum, sizeof sum);
	}
	if (d->has_crc && d->crc != all)
		readcheck_report(&k->c,
		    "ERROR: dmg: the checksum of all parts is %08lx, and "
		    "should be %08x",
		    all, d->crc);
}

int dmg_check(struct image *img, struct img_check *out,
    void (*report)(void *, const char *), void *arg, struct err *e)
{
	const struct dmg *d = img->priv;
	CLEANUP_FREE struct table_state *table =
	    calloc(d->table_n + 1, sizeof *table);
	struct dmg_checker k = {
	    .c = {.img = img, .out = out, .report = report, .arg = arg},
	    .d = d,
	    .table = table};
	uint64_t stored = 0;
	int rc = 0;

	if (!table)
		return err_nomem(e);
	for (size_t i = 0; i < d->n; i++)
		if (d->chunk[i].type != DMG_ZERO &&
		    d->chunk[i].type != DMG_IGNORE)
			stored += d->chunk[i].sectors * SECTOR_LEN;
	image_work_begin(img, stored);
	for (size_t i = 0; !rc && i < d->n; i++)
		rc = check_chunk(&k, &d->chunk[i], e);
	if (!rc)
		check_sums(&k);
	free(k.buf);
	return rc;
}
