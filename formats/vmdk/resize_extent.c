/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Growing and cutting one extent.
 *
 * A directory that becomes too short gets a longer one, with new tables behind
 * it, at the end of the file, and so does the redundant one; the old tables
 * stay where they are.  The header's only sector names both and the size: one
 * write of it puts them in force (I6).
 *
 * The gate is closed.
 */
#include <errno.h>
#include <stdlib.h>

#include "../core/prealloc.h"
#include "../core/request.h"
#include "resize.h"

/* ---- directories ------------------------------------------------------ */

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

		if (i >= x->gd_n && x->kind == VMDK_COW) {
			host = 0;
		} else if (i >= x->gd_n) {
			host = gt_host;
			gt_host += round_up(x->gt_len, SECTOR_LEN);
		} else if (vmdk_gde(x, from, i, &host, e)) {
			return -1;
		}
		put_le32(buf + 4 * i, (uint32_t)(host / SECTOR_LEN));
	}
	return host_pwrite(x->file, buf, len, to, e);
}

/* Space for a directory with its new tables, which are zeroes; a COWD makes
 * those when they are needed. */
static int take_gd(
    struct vmdk_extent *x, uint64_t gd_n, uint64_t *gd_host, struct err *e)
{
	uint64_t gd_len = round_up(gd_n * 4, SECTOR_LEN), got;
	uint64_t gt_n = x->kind == VMDK_COW ? 0 : gd_n - x->gd_n;
	uint64_t gts = gt_n * round_up(x->gt_len, SECTOR_LEN);
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

static int grow_tables(struct vmdk_extent *x, uint64_t gd_n, struct err *e)
{
	uint64_t gd = x->gd_host, rgd = x->rgd_host;

	if (move_gd(x, &gd, gd_n, e) || move_gd(x, &rgd, gd_n, e) ||
	    host_sync(x->file, e))
		return -1;
	tables_forget(x->tables, x->gd_host, x->gd_n * 4);
	if (x->rgd_host)
		tables_forget(x->tables, x->rgd_host, x->gd_n * 4);
	x->gd_host = gd;
	x->rgd_host = rgd;
	x->gd_n = gd_n;
	return 0;
}

/* ---- growing ---------------------------------------------------------- */

/* What follows the extent in its file is no part of it, and may be anything. */
static int grow_flat(struct image *img, struct vmdk_extent *x, uint64_t len,
    enum img_prealloc prealloc, struct err *e)
{
	uint64_t old = x->host + x->len, end;

	if (!add_ok(x->host, len, &end) || end > INT64_MAX)
		return err_set(e, ERR_SYSTEM, EFBIG, "%s: size %llu too large",
		    x->file->name, (unsigned long long)len);
	if (x->file->fixed_size && end <= host_size(x->file))
		return host_zero(x->file, old, end - old, 0, e);
	return host_truncate(x->file, old, e) ||
		       prealloc_resize(img, x->file, old, end, prealloc, e)
		   ? -1
		   : 0;
}

int vmdk_extent_grow(struct image *img, struct vmdk_extent *x, uint64_t len,
    enum img_prealloc prealloc, struct err *e)
{
	uint64_t gd_n;
	int rc = 0;

	if (x->kind == VMDK_FLAT)
		return grow_flat(img, x, len, prealloc, e);
	gd_n = div_up(len, (uint64_t)x->gt_n * x->grain_len);
	rwlock_excl(&img->meta);
	if (x->compressed)
		rc = vmdk_stream_grow(x, gd_n, e);
	else if (gd_n > x->gd_n)
		rc = grow_tables(x, gd_n, e);
	rwlock_excl_end(&img->meta);
	return rc;
}

void vmdk_extent_ungrow(
    struct image *img, struct vmdk_extent *x, const struct vmdk_dirs *old)
{
	struct err ignored = ERR_INIT;

	if (x->kind == VMDK_FLAT) {
		if (!x->file->fixed_size)
			host_truncate(x->file, x->host + x->len, &ignored);
		return;
	}
	if (x->compressed)
		return;
	rwlock_excl(&img->meta);
	tables_forget_level(x->tables, TABLE_MAP);
	x->gd_host = old->gd;
	x->rgd_host = old->rgd;
	x->gd_n = old->len / 4;
	rwlock_excl_end(&img->meta);
}

/* Others put new data behind all that is there. */
static int switch_cowd(struct vmdk_extent *x, uint64_t len, struct err *e)
{
	uint64_t end = max_u64(x->free_end, space_end(&x->space));
	uint8_t p[SECTOR_LEN];

	if (host_pread(x->file, p, sizeof p, 0, e))
		return -1;
	put_le32(p + VMDK_COWD_CAPACITY, (uint32_t)(len / SECTOR_LEN));
	put_le32(p + VMDK_COWD_GD, (uint32_t)(x->gd_host / SECTOR_LEN));
	put_le32(p + VMDK_COWD_GD_N, (uint32_t)x->gd_n);
	put_le32(p + VMDK_COWD_FREE, (uint32_t)(end / SECTOR_LEN));
	if (host_pwrite(x->file, p, sizeof p, 0, e) || host_sync(x->file, e))
		return -1;
	x->free_end = end;
	return 0;
}

/* Of a stream, which names no tables before it is closed, only the size. */
int vmdk_extent_switch(struct vmdk_extent *x, uint64_t len, struct err *e)
{
	if (x->kind == VMDK_FLAT)
		return host_sync(x->file, e);
	if (x->kind == VMDK_COW)
		return switch_cowd(x, len, e);
	x->h.capacity = len / SECTOR_LEN;
	if (!x->compressed) {
		x->h.gd = x->gd_host / SECTOR_LEN;
		x->h.rgd = x->rgd_host / SECTOR_LEN;
	}
	return vmdk_header_write(x->file, &x->h, e) || host_sync(x->file, e)
		   ? -1
		   : 0;
}

/* ---- cutting ---------------------------------------------------------- */

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

void vmdk_extent_forget(struct vmdk_extent *x, const struct vmdk_dirs *old)
{
	if (x->compressed || old->gd == x->gd_host)
		return;
	give_back(x, old->gd, old->len);
	give_back(x, old->rgd, old->len);
}

/* The grains at `guest`, up to *done bytes of one table, become holes. */
static int drop_grains(struct image *img, struct vmdk_extent *x, uint64_t guest,
    uint64_t len, uint64_t *done, struct err *e)
{
	uint64_t span = (uint64_t)x->gt_n * x->grain_len;
	uint64_t grain_ix = (guest - x->guest) / x->grain_len;
	struct extent found = {.guest = guest};
	int rc;

	rwlock_excl(&img->meta);
	rc = vmdk_map(img, guest, len, &found, e);
	*done = found.len;
	if (!rc && found.kind != EXT_HOLE) {
		*done = min_u64(*done, span - (guest - x->guest) % span);
		rc = vmdk_set_entries(
		    img, x, grain_ix, div_up(*done, x->grain_len), 0, 0, e);
	}
	rwlock_excl_end(&img->meta);
	if (rc || found.kind != EXT_DATA || found.flags & EXT_F_META)
		return rc;
	return host_punch(
		   x->file, found.host, round_up(*done, x->grain_len), e) < 0
		   ? -1
		   : 0;
}

/* Tables past the end of the extent; everything is committed. */
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

static int cut_sparse(
    struct image *img, struct vmdk_extent *x, uint64_t len, struct err *e)
{
	uint64_t gd_n = div_up(len, (uint64_t)x->gt_n * x->grain_len), done;
	uint64_t from = round_up(len, x->grain_len);

	for (; from < x->len; from += done)
		if (drop_grains(
			img, x, x->guest + from, x->len - from, &done, e) ||
		    (image_commit_due(img) && image_commit(img, e)))
			return -1;
	return image_commit(img, e) ? -1 : drop_tables(img, x, gd_n, e);
}

int vmdk_extent_cut(
    struct image *img, struct vmdk_extent *x, uint64_t len, struct err *e)
{
	if (x->compressed)
		return 0;
	if (x->kind != VMDK_FLAT)
		return cut_sparse(img, x, len, e);
	return x->file->fixed_size ? 0
				   : host_truncate(x->file, x->host + len, e);
}
