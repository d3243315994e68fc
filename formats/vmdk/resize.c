/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Growing and shrinking a disk of one extent.
 *
 * A directory that becomes too short gets a longer one, with new tables behind
 * it, at the end of the file, and so does the redundant one; the old tables
 * stay where they are.  The header's only sector names both and the size: one
 * write of it puts them in force (I6).  The descriptor follows; readers take
 * the size of a sparse extent from its header.
 *
 * The gate is closed.
 */
#include <errno.h>
#include <stdlib.h>

#include "../core/map.h"
#include "../core/prealloc.h"
#include "../core/read.h"
#include "../core/request.h"
#include "../core/resize.h"
#include "../core/write.h"
#include "stream.h"

static int write_header(struct vmdk_extent *x, struct err *e)
{
	uint8_t buf[SECTOR_LEN];

	vmdk_header_pack(&x->h, buf);
	return host_pwrite(x->file, buf, sizeof buf, 0, e) ||
		       host_sync(x->file, e)
		   ? -1
		   : 0;
}

static void set_size(struct image *img, struct vmdk_extent *x, uint64_t size)
{
	x->len = size;
	atomic_store(&img->size, size);
}

/* ---- directories
 * --------------------------------------------------------------- */

/* The entries of a longer directory; its new tables begin at `gt_host`. */
static int write_gd(struct vmdk_extent *x, uint64_t from, uint64_t to,
    uint64_t gd_n, uint64_t gt_host, struct err *e)
{
	size_t len = round_up(gd_n * 4, SECTOR_LEN);
	CLEANUP_FREE uint8_t *buf = calloc(1, len);

	if (!buf)
		return err_nomem(e);
	for (uint64_t i = 0; i < gd_n; i++) {
		uint64_t host;

		if (i >= x->gd_n) {
			host = gt_host;
			gt_host += round_up(x->gt_len, SECTOR_LEN);
		} else if (vmdk_gde(x, from, i, &host, e)) {
			return -1;
		}
		put_le32(buf + 4 * i, (uint32_t)(host / SECTOR_LEN));
	}
	return host_pwrite(x->file, buf, len, to, e);
}

/* Space for a directory with its new tables, which are zeroes. */
static int take_gd(
    struct vmdk_extent *x, uint64_t gd_n, uint64_t *gd_host, struct err *e)
{
	uint64_t gd_len = round_up(gd_n * 4, SECTOR_LEN), got;
	uint64_t gts = (gd_n - x->gd_n) * round_up(x->gt_len, SECTOR_LEN);
	uint64_t len = round_up(gd_len + gts, x->grain_len);

	if (space_take(&x->space, len, len, gd_host, &got, e) ||
	    clusterset_add(&x->meta, *gd_host / SECTOR_LEN,
		(gd_len + gts) / SECTOR_LEN, e))
		return -1;
	return host_zero(x->file, *gd_host, len, HOST_ZERO_PUNCH, e);
}

static int move_gd(
    struct vmdk_extent *x, uint64_t *gd_host, uint64_t gd_n, struct err *e)
{
	uint64_t to, from = *gd_host;

	if (!from)
		return 0;
	if (take_gd(x, gd_n, &to, e) ||
	    write_gd(x, from, to, gd_n, to + round_up(gd_n * 4, SECTOR_LEN), e))
		return -1;
	*gd_host = to;
	return 0;
}

static int grow_tables(
    struct image *img, struct vmdk_extent *x, uint64_t gd_n, struct err *e)
{
	uint64_t gd = x->gd_host, rgd = x->rgd_host;
	int rc;

	rwlock_excl(&img->meta);
	rc = move_gd(x, &gd, gd_n, e) || move_gd(x, &rgd, gd_n, e) ||
	     host_sync(x->file, e);
	if (!rc) {
		tables_forget(x->tables, x->gd_host, x->gd_n * 4);
		if (x->rgd_host)
			tables_forget(x->tables, x->rgd_host, x->gd_n * 4);
		x->gd_host = gd;
		x->rgd_host = rgd;
		x->gd_n = gd_n;
	}
	rwlock_excl_end(&img->meta);
	return rc ? -1 : 0;
}

/* ---- sparse
 * ----------------------------------------------------------------------- */

static int grow_stream(
    struct image *img, struct vmdk_extent *x, uint64_t gd_n, struct err *e)
{
	int rc;

	rwlock_excl(&img->meta);
	rc = vmdk_stream_grow(x, gd_n, e);
	rwlock_excl_end(&img->meta);
	return rc;
}

/* What the end of the disk cuts of a packed grain, malloc'd; NULL: nothing.  It
 * may be packed without what lies behind that. */
static int keep_tail(
    struct image *img, struct vmdk_extent *x, uint8_t **tail, struct err *e)
{
	uint64_t start = round_down(x->len, x->grain_len);
	struct extent last;

	*tail = NULL;
	if (!x->compressed || start == x->len)
		return 0;
	if (layer_map(img, start, x->len - start, &last, e))
		return -1;
	if (last.kind != EXT_PACKED)
		return 0;
	*tail = calloc(1, x->grain_len);
	if (!*tail)
		return err_nomem(e);
	return read_range(img, *tail, x->len - start, start, e);
}

/* The disk has its new size. */
static int put_tail(
    struct image *img, uint64_t old, const uint8_t *tail, struct err *e)
{
	uint64_t start = round_down(old, img->unit);

	if (!tail)
		return 0;
	return write_range(
	    img, tail, min_u64(img->unit, img_size(img) - start), start, e);
}

static int grow_sparse(
    struct image *img, struct vmdk_extent *x, uint64_t size, struct err *e)
{
	uint64_t gd_n = div_up(size, (uint64_t)x->gt_n * x->grain_len);
	CLEANUP_FREE uint8_t *tail = NULL;
	uint64_t old = x->len;

	if (keep_tail(img, x, &tail, e))
		return -1;
	if (x->compressed ? grow_stream(img, x, gd_n, e)
			  : gd_n > x->gd_n && grow_tables(img, x, gd_n, e))
		return -1;
	set_size(img, x, size);
	if (!put_tail(img, old, tail, e) && !resize_hide(img, old, size, e) &&
	    !image_commit(img, e))
		return 0;
	set_size(img, x, old);
	return -1;
}

/* The header with everything that has changed; of a stream, which names no
 * tables before it is closed, the size. */
static int switch_header(struct vmdk_extent *x, uint64_t size, struct err *e)
{
	x->h.capacity = size / SECTOR_LEN;
	if (!x->compressed) {
		x->h.gd = x->gd_host / SECTOR_LEN;
		x->h.rgd = x->rgd_host / SECTOR_LEN;
	}
	return write_header(x, e);
}

static int drop_grain(
    struct image *img, struct vmdk_extent *x, uint64_t guest, struct err *e)
{
	struct extent found = {.guest = guest};
	int rc;

	rwlock_excl(&img->meta);
	rc = vmdk_map(img, guest, x->grain_len, &found, e);
	if (!rc && found.kind != EXT_HOLE)
		rc = vmdk_set_entries(img, x, guest / x->grain_len, 1, 0, 0, e);
	rwlock_excl_end(&img->meta);
	if (rc || found.kind != EXT_DATA)
		return rc;
	return host_punch(x->file, found.host, x->grain_len, e) < 0 ? -1 : 0;
}

/* Metadata behind the grains that nothing names any more.  In front of them
 * the specification keeps its place. */
static void give_back(struct vmdk_extent *x, uint64_t host, uint64_t len)
{
	struct err ignored = ERR_INIT;

	if (!host || host < x->h.overhead * SECTOR_LEN)
		return;
	clusterset_remove(&x->meta, host / SECTOR_LEN, div_up(len, SECTOR_LEN));
	/* A punch that fails costs space, not data. */
	host_punch(x->file, host, round_up(len, SECTOR_LEN), &ignored);
}

/* Tables past the end of the disk; everything is committed. */
static int drop_tables(
    struct image *img, struct vmdk_extent *x, uint64_t gd_n, struct err *e)
{
	const uint64_t gds[] = {x->gd_host, x->rgd_host};
	int rc = 0;

	rwlock_excl(&img->meta);
	for (uint64_t i = gd_n; !rc && i < x->gd_n; i++)
		for (size_t k = 0; !rc && k < ARRAY_N(gds); k++) {
			uint64_t host;

			if (!gds[k])
				continue;
			rc = vmdk_gde(x, gds[k], i, &host, e);
			if (!rc)
				give_back(x, host, x->gt_len);
		}
	for (size_t k = 0; !rc && gd_n < x->gd_n && k < ARRAY_N(gds); k++)
		if (gds[k])
			rc = host_zero(x->file, gds[k] + gd_n * 4,
			    (x->gd_n - gd_n) * 4, 0, e);
	tables_forget_level(x->tables, TABLE_MAP);
	x->gd_n = gd_n;
	rwlock_excl_end(&img->meta);
	return rc;
}

/* What the header has cut off: its grains go. */
static int drop(
    struct image *img, struct vmdk_extent *x, uint64_t size, struct err *e)
{
	uint64_t gd_n = div_up(size, (uint64_t)x->gt_n * x->grain_len);
	uint64_t guest = round_up(size, x->grain_len);

	for (; guest < x->len; guest += x->grain_len)
		if (drop_grain(img, x, guest, e) ||
		    (image_commit_due(img) && image_commit(img, e)))
			return -1;
	return image_commit(img, e) ? -1 : drop_tables(img, x, gd_n, e);
}

static int resize_sparse(struct image *img, struct vmdk_extent *x,
    uint64_t size, enum img_prealloc prealloc, struct err *e)
{
	uint64_t gd = x->gd_host, rgd = x->rgd_host, gd_len = x->gd_n * 4;

	if (prealloc != IMG_PREALLOC_OFF)
		return err_unsupported(e,
		    "%s: sparse VMDK images cannot be preallocated", img->name);
	if (size < x->len && x->compressed)
		return err_unsupported(e,
		    "%s: a stream cannot shrink: grains past its end would "
		    "stay in it",
		    img->name);
	if (size > x->len && grow_sparse(img, x, size, e))
		return -1;
	if (switch_header(x, size, e) ||
	    (size < x->len && drop(img, x, size, e)))
		return image_fail(img, e);
	if (!x->compressed && gd != x->gd_host) {
		give_back(x, gd, gd_len);
		give_back(x, rgd, gd_len);
	}
	set_size(img, x, size);
	return 0;
}

/* ---- the disk
 * -------------------------------------------------------------------- */

static int resize_flat(struct image *img, struct vmdk_extent *x, uint64_t size,
    enum img_prealloc prealloc, struct err *e)
{
	uint64_t end;

	if (!add_ok(x->host, size, &end) || end > INT64_MAX)
		return err_set(e, ERR_SYSTEM, EFBIG, "%s: size %llu too large",
		    img->name, (unsigned long long)size);
	if (size > x->len && host_grow(x->file, end, e))
		return -1;
	if (size > x->len && prealloc != IMG_PREALLOC_OFF &&
	    host_allocate(x->file, x->host + x->len, size - x->len, e))
		return -1;
	set_size(img, x, size);
	return 0;
}

static int check_single(const struct image *img, uint64_t size, struct err *e)
{
	const struct vmdk *v = vmdk_of(img);

	if (v->n != 1 || (v->extent[0].kind != VMDK_FLAT &&
			     v->extent[0].kind != VMDK_SPARSE))
		return err_unsupported(e,
		    "%s: only disks of one extent can be resized: convert it",
		    img->name);
	if (!is_aligned(size, SECTOR_LEN) || !size)
		return err_usage(e,
		    "%s: the size of a VMDK disk is a multiple of 512",
		    img->name);
	return 0;
}

int vmdk_resize(
    struct image *img, uint64_t size, enum img_prealloc prealloc, struct err *e)
{
	struct vmdk *v = vmdk_of(img);
	struct vmdk_extent *x = v->extent;
	uint64_t old = img_size(img);
	bool flat = v->n && x->kind == VMDK_FLAT;

	if (check_single(img, size, e) || image_commit(img, e))
		return -1;
	if (size == old)
		return 0;
	if (flat ? resize_flat(img, x, size, prealloc, e)
		 : resize_sparse(img, x, size, prealloc, e))
		return -1;
	if (vmdk_desc_resize(img, size, e))
		return image_fail(img, e);
	if (flat && size < old)
		return host_truncate(x->file, x->host + size, e);
	return 0;
}
