/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * bochs: growing hard disk images of the Bochs emulator ("growing redologs"),
 * read only.
 *
 * The disk is divided into extents of a power of two of bytes.  The catalog
 * has a 32-bit number for each: where its space is, in units of a bitmap plus
 * an extent, from the end of the catalog; or none.  The bitmap comes first, in
 * whole sectors, and has a bit for each sector of the extent that was written.
 */
#include <errno.h>
#include <stdlib.h>

#include "core/cleanup.h"
#include "core/readcheck.h"
#include "driver.h"

#define HEADER_LEN     512u
#define VERSION_1      0x00010000u
#define VERSION_2      0x00020000u
#define CATALOG_N_MAX  0x100000u
#define EXTENT_LEN_MAX 0x800000u
#define BITMAP_LEN_MAX 0x100000u
#define FREE	       UINT32_MAX

static const char magic[32] = "Bochs Virtual HD Image";

struct bochs {
	uint32_t extent_len; /* guest bytes; a power of two            */
	uint32_t bitmap_len; /* host bytes, whole sectors              */
	uint64_t data;	     /* host: what the catalog counts from     */
	uint32_t catalog_n;
	uint8_t catalog[]; /* as in the file */
};

static bool is_bochs(const uint8_t *header)
{
	return !memcmp(header, magic, sizeof magic) &&
	       !memcmp(header + 32, "Redolog", 8);
}

static bool bochs_probe(const struct probe_in *p)
{
	return p->head_len >= HEADER_LEN && is_bochs(p->head);
}

/* ---- opening ------------------------------------------------------------- */

static int check_kind(
    const struct image *img, const uint8_t *header, struct err *e)
{
	uint32_t version = le32(header + 64);

	if (!is_bochs(header))
		return err_set(
		    e, ERR_NOT_FORMAT, EINVAL, "Image not in Bochs format");
	if (memcmp(header + 48, "Growing", 8))
		return err_unsupported(e,
		    "%s: Bochs redolog of the kind '%.16s': only 'Growing' "
		    "ones are disks of their own",
		    img->name, (const char *)header + 48);
	if (version != VERSION_1 && version != VERSION_2)
		return err_unsupported(e,
		    "%s: Bochs header: version 0x%x, known are 0x%x and 0x%x",
		    img->name, version, VERSION_1, VERSION_2);
	return 0;
}

/* Sets what the header says but for the catalog. */
static int check_geometry(const struct image *img, const uint8_t *header,
    struct bochs *b, struct err *e)
{
	uint32_t bitmap_len = le32(header + 76);

	b->catalog_n = le32(header + 72);
	b->extent_len = le32(header + 80);
	if (b->extent_len < SECTOR_LEN || b->extent_len > EXTENT_LEN_MAX ||
	    !is_pow2(b->extent_len))
		return err_damaged(e,
		    "%s: Bochs header: extents of %u bytes, allowed are powers "
		    "of two from %u to %u",
		    img->name, b->extent_len, SECTOR_LEN, EXTENT_LEN_MAX);
	if (bitmap_len < div_up(b->extent_len / SECTOR_LEN, 8) ||
	    bitmap_len > BITMAP_LEN_MAX)
		return err_damaged(e,
		    "%s: Bochs header: bitmaps of %u bytes, allowed for "
		    "extents of %u are %u to %u",
		    img->name, bitmap_len, b->extent_len,
		    (unsigned)div_up(b->extent_len / SECTOR_LEN, 8),
		    BITMAP_LEN_MAX);
	b->bitmap_len = (uint32_t)round_up(bitmap_len, SECTOR_LEN);
	if (b->catalog_n > CATALOG_N_MAX)
		return err_damaged(e,
		    "%s: Bochs header: catalog of %u entries, allowed are %u",
		    img->name, b->catalog_n, CATALOG_N_MAX);
	return 0;
}

static struct bochs *read_header(
    struct image *img, uint64_t *size, struct err *e)
{
	CLEANUP_FREE struct bochs *b = NULL;
	uint8_t header[HEADER_LEN];
	struct bochs geometry = {0};
	uint64_t len, start;

	if (host_pread(img->file, header, sizeof header, 0, e) ||
	    check_kind(img, header, e) ||
	    check_geometry(img, header, &geometry, e))
		return NULL;
	*size = le64(header + (le32(header + 64) == VERSION_1 ? 84 : 88));
	len = (uint64_t)geometry.catalog_n * 4;
	start = le32(header + 68);
	if (!range_ok(start, len, host_size(img->file))) {
		err_damaged(e,
		    "%s: Bochs catalog: %llu bytes at %llu, the file has %llu",
		    img->name, (unsigned long long)len,
		    (unsigned long long)start,
		    (unsigned long long)host_size(img->file));
		return NULL;
	}
	geometry.data = start + len;
	b = malloc(sizeof *b + len);
	if (!b) {
		err_nomem(e);
		return NULL;
	}
	*b = geometry;
	return len && host_pread(img->file, b->catalog, len, start, e)
		   ? NULL
		   : take(b);
}

static int bochs_open(struct image *img, struct options *o, struct err *e)
{
	struct bochs *b;
	uint64_t size;

	(void)o;
	b = read_header(img, &size, e);
	if (!b)
		return -1;
	size = round_down(size, SECTOR_LEN);
	if (div_up(size, b->extent_len) > b->catalog_n) {
		err_damaged(e,
		    "%s: Bochs header: a disk of %llu bytes, but the catalog "
		    "has %u extents of %u",
		    img->name, (unsigned long long)size, b->catalog_n,
		    b->extent_len);
		free(b);
		return -1;
	}
	img->priv = b;
	atomic_store(&img->size, size);
	return 0;
}

static void bochs_close(struct image *img)
{
	free(img->priv);
}

/* ---- the mapping --------------------------------------------------------- */

static uint32_t entry(const struct bochs *b, uint64_t ix)
{
	return le32(b->catalog + ix * 4);
}

/* Bytes from `guest` on, at most `len`, in extents that have no space. */
static uint64_t free_len(const struct bochs *b, uint64_t guest, uint64_t len)
{
	uint64_t end = round_down(guest, b->extent_len);

	while (end < guest + len && entry(b, end / b->extent_len) == FREE)
		end += b->extent_len;
	return end <= guest ? 0 : min_u64(end - guest, len);
}

/*
 * How many sectors from `first` on, at most `n`, are written, or are not?
 * `n` > 0.
 */
static uint32_t same_bits(
    const uint8_t *bitmap, uint32_t first, uint32_t n, bool *written)
{
	uint32_t i = 0, at;
	bool bit;

	*written = bitmap[first / 8] >> first % 8 & 1;
	do {
		i++;
		at = first + i;
		bit = i < n && (bitmap[at / 8] >> at % 8 & 1);
	} while (i < n && bit == *written);
	return i;
}

/* In an extent that has space: `len` bytes do not leave it. */
static int map_space(struct image *img, uint64_t guest, uint64_t len,
    struct extent *x, struct err *e)
{
	const struct bochs *b = img->priv;
	uint8_t bitmap[EXTENT_LEN_MAX / SECTOR_LEN / 8];
	uint64_t in = guest & (b->extent_len - 1), unit, host;
	uint32_t first = (uint32_t)(in / SECTOR_LEN);
	uint32_t last = (uint32_t)((in + len - 1) / SECTOR_LEN), run;
	bool written;

	unit = b->data + (uint64_t)entry(b, guest / b->extent_len) *
			     (b->bitmap_len + b->extent_len);
	host = unit + b->bitmap_len;
	if (!range_ok(host, in + len, host_size(img->file)))
		return err_set(e, ERR_DAMAGED, EIO,
		    "%s: Bochs extent %llu: its space at %llu is past the end "
		    "of the file, %llu",
		    img->name, (unsigned long long)(guest / b->extent_len),
		    (unsigned long long)unit,
		    (unsigned long long)host_size(img->file));
	if (host_pread(img->file, bitmap, last / 8 + 1, unit, e))
		return -1;
	run = same_bits(bitmap, first, last - first + 1, &written);
	x->len = min_u64((uint64_t)(first + run) * SECTOR_LEN - in, len);
	x->kind = written ? EXT_DATA : EXT_HOLE;
	x->file = img->file;
	x->host = host + in;
	return 0;
}

static int bochs_map(struct image *img, uint64_t guest, uint64_t len,
    struct extent *x, struct err *e)
{
	const struct bochs *b = img->priv;
	uint64_t in = guest & (b->extent_len - 1);

	x->kind = EXT_HOLE;
	x->len = free_len(b, guest, len);
	if (x->len)
		return 0;
	return map_space(img, guest, min_u64(len, b->extent_len - in), x, e);
}

/* ---- check --------------------------------------------------------------- */

static int compare_entries(const void *a, const void *b)
{
	uint32_t x = le32(a), y = le32(b);

	return (x > y) - (x < y);
}

/* Two extents with the same space are an error. */
static int check_shared(struct image *img, struct readcheck *c, struct err *e)
{
	const struct bochs *b = img->priv;
	size_t len = (size_t)b->catalog_n * 4;
	CLEANUP_FREE uint8_t *sorted = malloc(len + 1);

	if (!sorted)
		return err_nomem(e);
	memcpy(sorted, b->catalog, len);
	qsort(sorted, b->catalog_n, 4, compare_entries);
	for (uint32_t i = 0; i < b->catalog_n; i++) {
		uint32_t at = le32(sorted + (size_t)i * 4);

		if (at == FREE)
			break;
		c->out->allocated++;
		if (i && at == le32(sorted + (size_t)i * 4 - 4))
			readcheck_report(c,
			    "ERROR: Bochs catalog: two extents have the "
			    "number %u",
			    at);
	}
	c->out->total = div_up(img_size(img), b->extent_len);
	return 0;
}

static int bochs_check(struct image *img, struct img_check *out,
    void (*report)(void *, const char *), void *arg, struct err *e)
{
	const struct bochs *b = img->priv;
	struct readcheck c = {.img = img,
	    .step = b->extent_len,
	    .out = out,
	    .report = report,
	    .arg = arg};

	return check_shared(img, &c, e) ? -1 : readcheck_run(&c, e);
}

const struct driver bochs_driver = {
    .no_backing = true,
    .info = {.name = "bochs", .can_check = true},
    .read_only = true,
    .probe = bochs_probe,
    .open = bochs_open,
    .close = bochs_close,
    .map = bochs_map,
    .check = bochs_check,
};
