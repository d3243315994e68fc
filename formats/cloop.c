/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * cloop: compressed loop images, version 2, read only.
 *
 * A shell script of 128 bytes, the length of a block and the number of blocks,
 * and a table of 64-bit host offsets, one more than there are blocks: block i
 * is the zlib stream between offsets i and i + 1.  All numbers are big-endian.
 * The table stays in the file, and an entry is checked when it is used.
 */
#include <errno.h>
#include <stdlib.h>

#include "codec/codec.h"
#include "core/readcheck.h"
#include "driver.h"

#define SCRIPT_LEN 128u
#define TABLE_OFF  136u

/* Which commands follow differs. */
static const char magic[] = "#!/bin/sh\n#V2.0 Format\n";

struct cloop {
	uint32_t block_len; /* guest bytes */
	uint32_t block_n;
};

static bool is_cloop(const uint8_t *header)
{
	return !memcmp(header, magic, sizeof magic - 1);
}

static bool cloop_probe(const struct probe_in *p)
{
	return p->head_len >= TABLE_OFF && is_cloop(p->head);
}

static int check_header(const struct image *img, const struct cloop *c,
    uint64_t table_len, struct err *e)
{
	if (!c->block_len || c->block_len % SECTOR_LEN ||
	    c->block_len > CODEC_UNIT_MAX)
		return err_damaged(e,
		    "%s: cloop header: blocks of %u bytes, allowed are "
		    "multiples of %u up to %u",
		    img->name, c->block_len, SECTOR_LEN, CODEC_UNIT_MAX);
	if (!range_ok(TABLE_OFF, table_len, host_size(img->file)))
		return err_damaged(e,
		    "%s: cloop header: the table of %u blocks is past the end "
		    "of the file, %llu",
		    img->name, c->block_n,
		    (unsigned long long)host_size(img->file));
	return 0;
}

static int cloop_open(struct image *img, struct options *o, struct err *e)
{
	uint8_t header[TABLE_OFF];
	struct cloop *c;

	(void)o;
	if (host_pread(img->file, header, sizeof header, 0, e))
		return -1;
	if (!is_cloop(header))
		return err_set(e, ERR_NOT_FORMAT, EINVAL,
		    "Image not in cloop format, version 2");
	c = calloc(1, sizeof *c);
	if (!c)
		return err_nomem(e);
	c->block_len = be32(header + SCRIPT_LEN);
	c->block_n = be32(header + SCRIPT_LEN + 4);
	if (check_header(img, c, ((uint64_t)c->block_n + 1) * 8, e)) {
		free(c);
		return -1;
	}
	img->priv = c;
	img->packed_len = c->block_len;
	atomic_store(&img->size, (uint64_t)c->block_len * c->block_n);
	return 0;
}

static void cloop_close(struct image *img)
{
	free(img->priv);
}

static int bad_block(const struct image *img, uint64_t ix, uint64_t from,
    uint64_t to, struct err *e)
{
	return err_set(e, ERR_DAMAGED, EIO,
	    "%s: cloop block %llu: from %llu to %llu, allowed are 1 to %u "
	    "bytes inside the file of %llu",
	    img->name, (unsigned long long)ix, (unsigned long long)from,
	    (unsigned long long)to, CODEC_UNIT_MAX,
	    (unsigned long long)host_size(img->file));
}

static int cloop_map(struct image *img, uint64_t guest, uint64_t len,
    struct extent *x, struct err *e)
{
	const struct cloop *c = img->priv;
	uint64_t ix = guest / c->block_len, from, to;
	uint8_t pair[16];

	if (host_pread(img->file, pair, sizeof pair, TABLE_OFF + ix * 8, e))
		return -1;
	from = be64(pair);
	to = be64(pair + 8);
	if (from >= to || to > host_size(img->file) ||
	    to - from > CODEC_UNIT_MAX)
		return bad_block(img, ix, from, to, e);
	x->packed.unit = ix * c->block_len;
	x->packed.unit_len = c->block_len;
	x->packed.stored = (uint32_t)(to - from);
	x->packed.codec = CODEC_ZLIB;
	x->len = min_u64(len, x->packed.unit + c->block_len - guest);
	x->kind = EXT_PACKED;
	x->file = img->file;
	x->host = from;
	return 0;
}

static int cloop_check(struct image *img, struct img_check *out,
    void (*report)(void *, const char *), void *arg, struct err *e)
{
	const struct cloop *c = img->priv;
	struct readcheck check = {.img = img,
	    .step = c->block_len,
	    .out = out,
	    .report = report,
	    .arg = arg};

	out->total = out->allocated = out->packed = c->block_n;
	return readcheck_run(&check, e);
}

const struct driver cloop_driver = {
    .no_backing = true,
    .info = {.name = "cloop", .can_check = true},
    .read_only = true,
    .probe = cloop_probe,
    .open = cloop_open,
    .close = cloop_close,
    .map = cloop_map,
    .check = cloop_check,
};
