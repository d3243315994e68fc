/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Writing to sparse extents with tables in place.
 *
 * A grain that has space keeps it: it is written, or zeroed, in place.  New
 * ones are taken at the end of the file.  Where there is a second directory,
 * its tables get the same entries in the same commit; readers use the first.
 *
 * An entry may point past the end of a file that was cut off.  What is written
 * later takes that place, and must not be taken for what was lost.  So entries
 * are held against the length that the file had at first, until their table is
 * changed here: it is, only when none of them points past that.
 *
 * Flat extents are always data in place; streams are in stream.c.
 */
#include <errno.h>

#include "vmdk.h"

/* Dirty tables of one extent, bytes, beyond which a writer commits. */
#define DIRTY_LEN_MAX (2u << 20)

/* ---- before the first write -----------------------------------------------
 */

/* A child that was made before must see that its parent is another one. */
int vmdk_first_write(struct image *img, struct err *e)
{
	int rc;

	rwlock_excl(&img->meta);
	rc = vmdk_desc_store_cid(img, vmdk_cid_new(), e);
	rwlock_excl_end(&img->meta);
	return rc;
}

/* [host, host + len) is metadata, and of nobody else. */
static int own_range(struct vmdk_extent *x, const char *what, uint64_t host,
    uint64_t len, struct err *e)
{
	uint64_t sector = host / SECTOR_LEN, n = div_up(len, SECTOR_LEN);

	if (clusterset_any(&x->meta, sector, n))
		return err_set(e, ERR_DAMAGED, EIO,
		    "%s: %s at %llu overlaps other metadata", x->file->name,
		    what, (unsigned long long)host);
	return clusterset_add(&x->meta, sector, n, e);
}

static int own_tables(struct vmdk_extent *x, uint64_t gd_host, struct err *e)
{
	if (own_range(x, "grain directory", gd_host, x->gd_n * 4, e))
		return -1;
	for (uint64_t i = 0; i < x->gd_n; i++) {
		uint64_t host;

		if (vmdk_gde(x, gd_host, i, &host, e) ||
		    (host && own_range(x, "grain table", host, x->gt_len, e)))
			return -1;
	}
	return 0;
}

int vmdk_extent_own(struct image *img, struct vmdk_extent *x, struct err *e)
{
	uint64_t limit = round_down(VMDK_HOST_MAX, x->grain_len);
	uint64_t head = SECTOR_LEN, size = host_size(x->file);
	int rc;

	if (size > limit)
		return err_unsupported(e,
		    "%s: the file is longer than %llu bytes", x->file->name,
		    (unsigned long long)limit);
	if (x->kind == VMDK_SPARSE && x->h.desc && x->h.desc < 1024 &&
	    x->h.desc_n < 1024)
		head = (x->h.desc + x->h.desc_n) * SECTOR_LEN;
	if (x->kind == VMDK_COW)
		head = 4 * SECTOR_LEN;
	space_init(&x->space, 0, x->grain_len, size, limit);
	x->first_end = space_end(&x->space);
	rwlock_excl(&img->meta);
	rc = own_range(x, "header", 0, head, e) ||
	     own_tables(x, x->gd_host, e) ||
	     (x->rgd_host && own_tables(x, x->rgd_host, e));
	rwlock_excl_end(&img->meta);
	return rc ? -1 : 0;
}

/* ---- tables -----------------------------------------------------------------
 */

static int set_gde(struct vmdk_extent *x, uint64_t gd_host, uint64_t gd_ix,
    uint64_t gt_host, struct err *e)
{
	uint32_t at;
	struct table *t = vmdk_gd_slice(x, gd_host, gd_ix, &at, e);
	int rc;

	if (!t)
		return -1;
	rc = tables_change(x->tables, t, e);
	if (!rc)
		put_le32(t->data + at, (uint32_t)(gt_host / SECTOR_LEN));
	tables_put(x->tables, t);
	return rc;
}

/* A new table of zeroes for a directory that has none for this index. */
static int make_gt(
    struct vmdk_extent *x, uint64_t gd_host, uint64_t gd_ix, struct err *e)
{
	uint64_t len = round_up(x->gt_len, x->grain_len), host, got;
	struct table *t;

	if (space_take(&x->space, len, len, &host, &got, e))
		return -1;
	t = tables_new(x->tables, host, x->gt_len, TABLE_MAP, e);
	tables_put(x->tables, t);
	if (!t || own_range(x, "grain table", host, x->gt_len, e))
		return -1;
	return set_gde(x, gd_host, gd_ix, host, e);
}

/* Every directory has a table for the grain. */
static int own_gt(
    struct image *img, struct vmdk_extent *x, uint64_t gd_ix, struct err *e)
{
	const uint64_t gds[] = {x->gd_host, x->rgd_host};

	if (gd_ix >= x->gd_n)
		return err_unsupported(e,
		    "%s: its grain directory ends before the disk",
		    x->file->name);
	for (size_t i = 0; i < ARRAY_N(gds); i++) {
		uint64_t host;

		if (!gds[i])
			continue;
		if (vmdk_gde(x, gds[i], gd_ix, &host, e))
			return -1;
		if (!host && make_gt(x, gds[i], gd_ix, e))
			return image_fail(img, e);
	}
	return 0;
}

/* The table of a directory that has the grain; it has one. */
static struct table *get_gt(
    struct vmdk_extent *x, uint64_t gd_host, uint64_t gd_ix, struct err *e)
{
	uint64_t host;

	if (vmdk_gde(x, gd_host, gd_ix, &host, e))
		return NULL;
	return tables_get(x->tables, host, x->gt_len, TABLE_MAP, e);
}

/* From now on its entries may point to what was taken since. */
static int make_ours(struct vmdk_extent *x, uint64_t gd_ix, struct err *e)
{
	uint64_t bad_n = 0, host;
	struct table *t;

	if (clusterset_any(&x->ours, gd_ix, 1))
		return 0;
	t = get_gt(x, x->gd_host, gd_ix, e);
	if (!t)
		return -1;
	for (uint32_t ix = 0; ix < x->gt_n; ix++)
		bad_n += vmdk_gte_get(x, t->data, ix, x->first_end, &host) ==
			 VMDK_GTE_BAD;
	tables_put(x->tables, t);
	if (bad_n)
		return err_set(e, ERR_DAMAGED, EIO,
		    "%s: %llu entries of grain table %llu point past the end "
		    "of the file: it cannot be changed before a repair",
		    x->file->name, (unsigned long long)bad_n,
		    (unsigned long long)gd_ix);
	return clusterset_add(&x->ours, gd_ix, 1, e);
}

/* n entries from that of grain_ix on, all of one table: the first one, and
 * `step` more for each next. */
static int set_in(struct vmdk_extent *x, uint64_t gd_host, uint64_t grain_ix,
    uint64_t n, uint32_t entry, uint32_t step, struct err *e)
{
	struct table *t = get_gt(x, gd_host, grain_ix / x->gt_n, e);
	uint32_t ix = grain_ix % x->gt_n;
	int rc;

	if (!t)
		return -1;
	rc = tables_change(x->tables, t, e);
	for (uint64_t i = 0; !rc && i < n; i++, entry += step)
		put_le32(t->data + 4 * (ix + i), entry);
	tables_put(x->tables, t);
	return rc;
}

int vmdk_set_entries(struct image *img, struct vmdk_extent *x,
    uint64_t grain_ix, uint64_t n, uint32_t entry, uint32_t step, struct err *e)
{
	if (x->rgd_host && set_in(x, x->rgd_host, grain_ix, n, entry, step, e))
		return -1;
	if (set_in(x, x->gd_host, grain_ix, n, entry, step, e))
		return -1;
	if (tables_dirty_len(x->tables) >= DIRTY_LEN_MAX)
		atomic_store(&img->wants_commit, true);
	return 0;
}

/* ---- reserve, publish, abandon ----------------------------------------------
 */

/* Entries from that of grain_ix on, max_n at most, that have no space. */
static int count_missing(struct vmdk_extent *x, uint64_t grain_ix,
    uint64_t max_n, uint64_t *n, struct err *e)
{
	struct table *t = get_gt(x, x->gd_host, grain_ix / x->gt_n, e);
	uint32_t ix = grain_ix % x->gt_n;
	uint64_t end = vmdk_gt_end(x, grain_ix / x->gt_n);
	enum vmdk_gte kind = VMDK_GTE_HOLE;

	if (!t)
		return -1;
	max_n = min_u64(max_n, x->gt_n - ix);
	for (*n = 0; *n < max_n; ++*n) {
		uint64_t host;

		kind = vmdk_gte_get(x, t->data, ix + (uint32_t)*n, end, &host);
		if (kind != VMDK_GTE_HOLE && kind != VMDK_GTE_ZEROES)
			break;
	}
	tables_put(x->tables, t);
	if (*n)
		return 0;
	return vmdk_bad_entry(x, grain_ix,
	    kind == VMDK_GTE_BAD ? "points past the end of the file"
				 : "has space already",
	    e);
}

int vmdk_reserve(struct image *img, uint64_t guest, uint64_t len,
    uint64_t stored, struct reservation *r, struct err *e)
{
	struct vmdk_extent *x = vmdk_extent_at(vmdk_of(img), guest);
	uint64_t grain_ix, n;

	if (x->kind == VMDK_ZERO)
		return err_set(e, ERR_UNSUPPORTED, EROFS,
		    "%s: an extent of zeroes cannot be written", img->name);
	grain_ix = (guest - x->guest) / x->grain_len;
	if (x->compressed)
		return vmdk_stream_reserve(x, guest, stored, r, e);
	if (stored)
		return err_set(e, ERR_UNSUPPORTED, ENOTSUP,
		    "Compression not supported for this file format");
	len = min_u64(len, x->guest + x->len - guest);
	r->guest = x->guest + grain_ix * x->grain_len;
	r->file = x->file;
	if (own_gt(img, x, grain_ix / x->gt_n, e) ||
	    make_ours(x, grain_ix / x->gt_n, e) ||
	    count_missing(x, grain_ix,
		div_up(guest + len - r->guest, x->grain_len), &n, e))
		return -1;
	if (space_take(&x->space, x->grain_len, n * x->grain_len, &r->host,
		&r->len, e))
		return -1;
	r->zeroed = r->host >= host_size(x->file);
	return 0;
}

int vmdk_publish(struct image *img, const struct reservation *r, struct err *e)
{
	struct vmdk_extent *x = vmdk_extent_at(vmdk_of(img), r->guest);

	if (x->compressed)
		return vmdk_stream_publish(x, r, e);
	return vmdk_set_entries(img, x, (r->guest - x->guest) / x->grain_len,
	    r->len / x->grain_len, (uint32_t)(r->host / SECTOR_LEN),
	    (uint32_t)(x->grain_len / SECTOR_LEN), e);
}

void vmdk_abandon(struct image *img, const struct reservation *r)
{
	struct vmdk_extent *x = vmdk_extent_at(vmdk_of(img), r->guest);

	if (x->compressed)
		vmdk_stream_abandon(x, r);
	else
		space_give(&x->space, r->host, r->len);
}

/* ---- zeroes ----------------------------------------------------------- */

/* Grains of one table from grain_ix on: how many need not change? */
static int count_kind(struct vmdk_extent *x, uint64_t grain_ix, uint64_t max_n,
    enum vmdk_gte kind, uint64_t *n, struct err *e)
{
	uint64_t gd_ix = grain_ix / x->gt_n, gt_host = 0, host;
	uint64_t end = vmdk_gt_end(x, gd_ix);
	uint32_t ix = grain_ix % x->gt_n;
	struct table *t;

	*n = 0;
	max_n = min_u64(max_n, x->gt_n - ix);
	if (gd_ix < x->gd_n && vmdk_gde(x, x->gd_host, gd_ix, &gt_host, e))
		return -1;
	if (!gt_host) {
		*n = kind == VMDK_GTE_HOLE ? max_n : 0;
		return 0;
	}
	t = tables_get(x->tables, gt_host, x->gt_len, TABLE_MAP, e);
	if (!t)
		return -1;
	while (*n < max_n &&
	       vmdk_gte_get(x, t->data, ix + (uint32_t)*n, end, &host) == kind)
		++*n;
	tables_put(x->tables, t);
	return 0;
}

/* Only what has no space is done here: the rest is zeroed in place. */
int vmdk_unmap(struct image *img, uint64_t guest, uint64_t len,
    enum unmap_how how, uint64_t *done, struct err *e)
{
	struct vmdk_extent *x = vmdk_extent_at(vmdk_of(img), guest);
	uint64_t grain_ix, grain_n, n;
	bool disk_end;

	if (x->kind == VMDK_ZERO || x->kind == VMDK_FLAT || x->compressed)
		return 0;
	len = min_u64(len, x->guest + x->len - guest);
	disk_end = guest + len == x->guest + x->len;
	grain_ix = (guest - x->guest) / x->grain_len;
	grain_n = disk_end ? div_up(len, x->grain_len) : len / x->grain_len;
	if (count_kind(x, grain_ix, grain_n, VMDK_GTE_ZEROES, &n, e))
		return -1;
	if (!n) {
		if (count_kind(x, grain_ix, grain_n, VMDK_GTE_HOLE, &n, e))
			return -1;
		if (n && how != UNMAP_TRIM && img->has_backing) {
			if (!x->zero_gte)
				return 0;
			if (own_gt(img, x, grain_ix / x->gt_n, e) ||
			    make_ours(x, grain_ix / x->gt_n, e) ||
			    vmdk_set_entries(
				img, x, grain_ix, n, VMDK_GTE_ZERO, 0, e))
				return -1;
		}
	}
	*done = min_u64(len, n * x->grain_len);
	return 0;
}

/* ---- commit ----------------------------------------------------------- */

int vmdk_raise_free_end(struct vmdk_extent *x, uint64_t end, struct err *e)
{
	uint8_t p[4];

	if (x->kind != VMDK_COW || end <= x->free_end)
		return 0;
	put_le32(p, (uint32_t)(end / SECTOR_LEN));
	if (host_pwrite(x->file, p, sizeof p, VMDK_COWD_FREE, e))
		return -1;
	x->free_end = end;
	return 0;
}

static int commit_extent(
    struct image *img, struct vmdk_extent *x, struct err *e)
{
	struct err ignored = ERR_INIT;
	uint64_t end;

	if (x->kind == VMDK_ZERO)
		return 0;
	if (x->kind == VMDK_FLAT || x->compressed)
		return host_sync(x->file, e);
	rwlock_shared(&img->meta);
	end = space_end(&x->space);
	rwlock_shared_end(&img->meta);
	/* New grains that were not written to their end get one.  If that
	 * fails, reads past the end of the file give the same zeroes. */
	if (tables_dirty_len(x->tables)) {
		host_grow(x->file, end, &ignored);
		if (vmdk_raise_free_end(x, end, e))
			return -1;
	}
	return tables_commit(x->tables, NULL, image_commit_mark, img, e);
}

int vmdk_commit(struct image *img, struct err *e)
{
	struct vmdk *v = vmdk_of(img);

	atomic_store(&img->wants_commit, false);
	for (size_t i = 0; i < v->n; i++)
		if (commit_extent(img, &v->extent[i], e))
			return -1;
	return 0;
}
