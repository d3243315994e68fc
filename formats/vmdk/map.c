/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The mapping: guest byte -> extent -> grain directory -> grain table ->
 * grain.  Each entry is checked before its offset is used.
 *
 * Of a packed grain the table says only where it begins: how long it is stands
 * in its marker, which is read here.
 */
#include <errno.h>
#include <stdio.h>

#include "../core/maprun.h"
#include "vmdk.h"

struct vmdk_extent *vmdk_extent_at(const struct vmdk *v, uint64_t guest)
{
	size_t low = 0, high = v->n;

	while (high - low > 1) {
		size_t mid = low + (high - low) / 2;

		if (v->extent[mid].guest <= guest)
			low = mid;
		else
			high = mid;
	}
	return &v->extent[low];
}

/* ---- entries ------------------------------------------------------------- */

int vmdk_bad_entry(const struct vmdk_extent *x, uint64_t grain_ix,
    const char *why, struct err *e)
{
	return err_set(e, ERR_DAMAGED, EIO,
	    "%s: grain table %llu: entry %llu %s", x->file->name,
	    (unsigned long long)(grain_ix / x->gt_n),
	    (unsigned long long)(grain_ix % x->gt_n), why);
}

static uint32_t gde_len(const struct vmdk_extent *x)
{
	return x->kind == VMDK_SE ? 8 : 4;
}

struct table *vmdk_gd_slice(struct vmdk_extent *x, uint64_t gd_host,
    uint64_t gd_ix, uint32_t *at, struct err *e)
{
	uint64_t off = gd_ix * gde_len(x), len = x->gd_n * gde_len(x);
	uint64_t slice = round_down(off, TABLE_LEN_MAX);

	*at = (uint32_t)(off - slice);
	return tables_get(x->tables, gd_host + slice,
	    (uint32_t)min_u64(len - slice, TABLE_LEN_MAX), TABLE_MAP, e);
}

/* The table that a seSparse entry means: its number under a type of 4 bits. */
static bool se_table(
    const struct vmdk_extent *x, uint64_t entry, uint64_t *host)
{
	if (entry >> 32 != 0x10000000u)
		return false;
	*host = x->se_gts + (entry & UINT32_MAX) * x->gt_len;
	return true;
}

int vmdk_gde(struct vmdk_extent *x, uint64_t gd_host, uint64_t gd_ix,
    uint64_t *gt_host, struct err *e)
{
	uint32_t at;
	struct table *t = vmdk_gd_slice(x, gd_host, gd_ix, &at, e);
	uint64_t entry;
	bool valid = true;

	if (!t)
		return -1;
	entry = x->kind == VMDK_SE ? le64(t->data + at) : le32(t->data + at);
	tables_put(x->tables, t);
	*gt_host = 0;
	if (!entry)
		return 0;
	if (x->kind == VMDK_SE)
		valid = se_table(x, entry, gt_host);
	else
		*gt_host = entry * SECTOR_LEN;
	if (valid && range_ok(*gt_host, x->gt_len, vmdk_end(x)))
		return 0;
	return err_set(e, ERR_DAMAGED, EIO,
	    "%s: grain directory at %llu: entry %llu points to no table of "
	    "the file",
	    x->file->name, (unsigned long long)gd_host,
	    (unsigned long long)gd_ix);
}

/* What a number of a seSparse table says: the grain's index is cut in two. */
static enum vmdk_gte se_gte(
    const struct vmdk_extent *x, uint64_t entry, uint64_t *host)
{
	uint64_t ix = (entry >> 48 & 0xfff) | (entry & 0xffffffffffffull) << 12;

	switch (entry >> 60) {
	case 0:
		return entry ? VMDK_GTE_BAD : VMDK_GTE_HOLE;
	case 1: /* the guest has unmapped it */
	case 2:
		return VMDK_GTE_ZEROES;
	case 3:
		return mul_ok(ix, x->grain_len, host) &&
			       add_ok(*host, x->se_grains, host)
			   ? VMDK_GTE_DATA
			   : VMDK_GTE_BAD;
	}
	return VMDK_GTE_BAD;
}

uint64_t vmdk_end(const struct vmdk_extent *x)
{
	return x->space.unit_len ? space_end(&x->space) : host_size(x->file);
}

uint64_t vmdk_gt_end(const struct vmdk_extent *x, uint64_t gd_ix)
{
	return x->space.unit_len && !clusterset_any(&x->ours, gd_ix, 1)
		   ? x->first_end
		   : vmdk_end(x);
}

enum vmdk_gte vmdk_gte_get(const struct vmdk_extent *x, const uint8_t *gt,
    uint32_t ix, uint64_t end, uint64_t *host)
{
	enum vmdk_gte kind = VMDK_GTE_DATA;

	*host = 0;
	if (x->kind == VMDK_SE) {
		kind = se_gte(x, le64(gt + 8 * (size_t)ix), host);
	} else {
		uint32_t entry = le32(gt + 4 * (size_t)ix);

		if (!entry)
			return VMDK_GTE_HOLE;
		if (x->zero_gte && entry == VMDK_GTE_ZERO)
			return VMDK_GTE_ZEROES;
		*host = (uint64_t)entry * SECTOR_LEN;
	}
	if (kind == VMDK_GTE_DATA && *host >= end)
		return VMDK_GTE_BAD;
	return kind;
}

/* ---- one look-up ----------------------------------------------------------
 */

/* Where a packed grain is and how long. */
static int read_marker(
    struct vmdk_extent *x, uint64_t grain_ix, struct extent *out, struct err *e)
{
	uint64_t sector = grain_ix * (x->grain_len / SECTOR_LEN);
	uint64_t len = host_size(x->file), most;
	uint8_t mark[VMDK_MARK_LEN];

	out->kind = EXT_PACKED;
	out->packed.unit = x->guest + grain_ix * x->grain_len;
	/* Some writers pack only what the disk has of the last one. */
	out->packed.unit_len = (uint32_t)min_u64(
	    x->grain_len, x->guest + x->len - out->packed.unit);
	out->packed.codec = CODEC_ZLIB;
	most = min_u64(2 * x->grain_len, CODEC_UNIT_MAX);
	if (!(x->h.flags & VMDK_F_MARKERS)) {
		out->packed.stored = (uint32_t)min_u64(most, len - out->host);
		return 0;
	}
	if (host_pread(x->file, mark, sizeof mark, out->host, e))
		return -1;
	out->host += sizeof mark;
	out->packed.stored = le32(mark + 8);
	if (le64(mark) != sector)
		return vmdk_bad_entry(
		    x, grain_ix, "points to the marker of another grain", e);
	if (!out->packed.stored || out->packed.stored > most ||
	    !range_ok(out->host, out->packed.stored, len))
		return vmdk_bad_entry(x, grain_ix,
		    "points to a grain of an impossible length", e);
	return 0;
}

static uint32_t raw_gte(const uint8_t *gt, uint32_t ix)
{
	return le32(gt + 4 * (size_t)ix);
}

/* How many entries from ix on say the same, or of neighbours in the file. */
static uint32_t same_entries(const struct vmdk_extent *x, const uint8_t *gt,
    uint32_t ix, uint64_t end, uint64_t max_n)
{
	uint64_t step = x->grain_len / SECTOR_LEN, entry, n = 1;

	if (x->kind == VMDK_SE)
		return 1;
	entry = raw_gte(gt, ix);
	if (entry && x->compressed)
		return 1;
	if (!entry || (x->zero_gte && entry == VMDK_GTE_ZERO))
		step = 0;
	max_n = min_u64(max_n, x->gt_n - ix);
	while (n < max_n && raw_gte(gt, ix + n) == entry + n * step &&
	       (!step || (entry + n * step) * SECTOR_LEN < end))
		n++;
	return (uint32_t)n;
}

static int from_entry(struct vmdk_extent *x, const uint8_t *gt,
    uint64_t grain_ix, struct extent *out, struct err *e)
{
	uint64_t off = out->guest - x->guest - grain_ix * x->grain_len;
	uint32_t ix = grain_ix % x->gt_n;
	uint64_t grains_n = div_up(off + out->len, x->grain_len), host;
	uint64_t end = vmdk_gt_end(x, grain_ix / x->gt_n);
	enum vmdk_gte kind = vmdk_gte_get(x, gt, ix, end, &host);

	grains_n = same_entries(x, gt, ix, end, grains_n);
	out->len = min_u64(out->len, grains_n * x->grain_len - off);
	out->file = x->file;
	switch (kind) {
	case VMDK_GTE_HOLE:
		out->kind = EXT_HOLE;
		return 0;
	case VMDK_GTE_ZEROES:
		out->kind = EXT_ZERO;
		return 0;
	case VMDK_GTE_DATA:
		out->host = host;
		if (x->compressed)
			return read_marker(x, grain_ix, out, e);
		out->kind = EXT_DATA;
		out->host += off;
		return 0;
	case VMDK_GTE_BAD:
		break;
	}
	return vmdk_bad_entry(
	    x, grain_ix, "points past the end of the file", e);
}

/* A grain of a stream whose tables are in memory. */
static int from_stream(
    struct vmdk_extent *x, uint64_t grain_ix, struct extent *out, struct err *e)
{
	uint64_t end_ix =
	    div_up(out->guest + out->len - x->guest, x->grain_len);
	uint64_t next_ix = vmdk_stream_next(x, grain_ix, end_ix);
	uint32_t entry = vmdk_stream_get(x, grain_ix);

	next_ix = max_u64(next_ix, grain_ix + 1);
	out->len =
	    min_u64(out->len, x->guest + next_ix * x->grain_len - out->guest);
	out->kind = EXT_HOLE;
	if (!entry)
		return 0;
	if (x->zero_gte && entry == VMDK_GTE_ZERO) {
		out->kind = EXT_ZERO;
		return 0;
	}
	out->file = x->file;
	out->host = (uint64_t)entry * SECTOR_LEN;
	return read_marker(x, grain_ix, out, e);
}

static int from_tables(
    struct vmdk_extent *x, uint64_t grain_ix, struct extent *out, struct err *e)
{
	uint64_t gd_ix = grain_ix / x->gt_n, gt_host = 0;
	uint64_t end = x->guest + (gd_ix + 1) * x->gt_n * x->grain_len;
	struct table *t;
	int rc;

	out->len = min_u64(out->len, end - out->guest);
	/* A COWD directory may end before the disk does. */
	if (gd_ix < x->gd_n && vmdk_gde(x, x->gd_host, gd_ix, &gt_host, e))
		return -1;
	if (!gt_host) {
		out->kind = EXT_HOLE;
		return 0;
	}
	t = tables_get(x->tables, gt_host, x->gt_len, TABLE_MAP, e);
	if (!t)
		return -1;
	rc = from_entry(x, t->data, grain_ix, out, e);
	tables_put(x->tables, t);
	return rc;
}

/* I4: on a writable image, does data lie where metadata is? */
static void flag_metadata(const struct vmdk_extent *x, struct extent *out)
{
	uint64_t first = out->host / SECTOR_LEN;
	uint64_t last = (out->host + out->len - 1) / SECTOR_LEN;

	if (out->kind == EXT_DATA &&
	    clusterset_any(&x->meta, first, last - first + 1))
		out->flags |= EXT_F_META;
}

int vmdk_wrong_parent(const struct image *img, struct err *e)
{
	char is[9], was[9];

	snprintf(is, sizeof is, "%08x", vmdk_of(img->backing)->desc.cid);
	snprintf(was, sizeof was, "%08x", vmdk_of(img)->desc.parent_cid);
	return image_wrong_parent(img, "CID", is, was, e);
}

static int look(struct image *img, uint64_t guest, uint64_t len,
    struct extent *out, struct err *e)
{
	const struct vmdk *v = vmdk_of(img);
	struct vmdk_extent *x = vmdk_extent_at(v, guest);
	uint64_t grain_ix;
	int rc;

	out->len = len = min_u64(len, x->guest + x->len - guest);
	out->file = x->file;
	if (x->kind == VMDK_ZERO) {
		out->kind = EXT_ZERO;
		return 0;
	}
	if (x->kind == VMDK_FLAT) {
		out->kind = EXT_DATA;
		out->host = x->host + (guest - x->guest);
		return 0;
	}
	grain_ix = (guest - x->guest) / x->grain_len;
	rc = x->stream ? from_stream(x, grain_ix, out, e)
		       : from_tables(x, grain_ix, out, e);
	if (rc)
		return -1;
	if (out->kind == EXT_HOLE && v->wrong_parent)
		return vmdk_wrong_parent(img, e);
	flag_metadata(x, out);
	return 0;
}

int vmdk_map(struct image *img, uint64_t guest, uint64_t len, struct extent *x,
    struct err *e)
{
	/* Looking at the neighbour of a packed grain is a read of its own. */
	if (img->packs_only)
		return look(img, guest, len, x, e);
	return maprun(img, look, guest, len, x, e);
}
