/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * VHD: another size, another parent, an empty disk.
 *
 * What the header or the footer will name is durable first.  The table's place
 * and length are in one sector of the header, which is written as one; a header
 * with another parent is written to another place, which the footer then names.
 * Both footers change; the first one counts.
 *
 * The gate is closed.
 */
#include <errno.h>
#include <stdlib.h>

#include "../core/request.h"
#include "../core/resize.h"
#include "vpc.h"

/* ---- structures ------------------------------------------------------- */

int vpc_footers_store(struct image *img, struct err *e)
{
	struct vpc *v = vpc_of(img);
	uint64_t end = space_end(&v->flat.space);

	if (vpc_footer_store(img, end, e) || host_sync(img->file, e) ||
	    vpc_footer_store(img, 0, e) || host_sync(img->file, e))
		return image_fail(img, e);
	v->footer_end = end;
	return 0;
}

static int store_header(struct image *img, struct err *e)
{
	const struct vpc *v = vpc_of(img);
	uint8_t p[VPC_HEADER_LEN];

	vpc_header_pack(p, &v->header);
	if (host_pwrite(img->file, p, sizeof p, v->footer.header_host, e) ||
	    host_sync(img->file, e))
		return image_fail(img, e);
	return 0;
}

int vpc_settle(struct image *img, struct err *e)
{
	struct vpc *v = vpc_of(img);

	if (flat_scan(&v->flat, vpc_claim_structures, e) ||
	    vpc_footers_store(img, e))
		return image_fail(img, e);
	if (img->file->fixed_size)
		return 0;
	return host_truncate(img->file, v->footer_end + VPC_FOOTER_LEN, e);
}

static int take_room(
    struct image *img, uint64_t len, uint64_t *host, struct err *e)
{
	uint64_t got;
	int rc;

	len = round_up(len, SECTOR_LEN);
	rwlock_excl(&img->meta);
	rc = space_take(&flat_of(img)->space, len, len, host, &got, e);
	rwlock_excl_end(&img->meta);
	return rc;
}

/* The size is what was asked, so it is the one that counts from now on. */
static void set_size(struct image *img, uint64_t size)
{
	atomic_store(&img->size, size);
	vpc_set_size(&vpc_of(img)->footer, size);
}

/* ---- fixed disks ------------------------------------------------------ */

/* Between the disk and the footer there may be more, where the geometry says
 * that the disk is smaller: with the old footer it lies in the disk now, or
 * past its end. */
static int resize_fixed(struct image *img, uint64_t size, struct err *e)
{
	uint64_t old = img_size(img), old_end = host_size(img->file);
	uint64_t end = size + VPC_FOOTER_LEN;

	set_size(img, size);
	if (vpc_footer_store(img, size, e) || host_sync(img->file, e))
		return image_fail(img, e);
	if (host_size(img->file) > end && host_truncate(img->file, end, e))
		return image_fail(img, e);
	if (size > old &&
	    host_zero(img->file, old, min_u64(old_end, size) - old, 0, e))
		return image_fail(img, e);
	return host_sync(img->file, e) ? image_fail(img, e) : 0;
}

/* ---- the table -------------------------------------------------------- */

static int write_table(
    struct image *img, uint64_t host, uint32_t n, struct err *e)
{
	const struct vpc_header *h = &vpc_of(img)->header;
	uint64_t len = round_up(4ull * n, SECTOR_LEN), had = 4ull * h->bat_n;
	uint8_t buf[65536];

	for (uint64_t off = 0; off < len; off += sizeof buf) {
		uint64_t old = off < had ? min_u64(had - off, sizeof buf) : 0;

		memset(buf, 0xff, sizeof buf);
		if (old &&
		    host_pread(img->file, buf, old, h->bat_host + off, e))
			return -1;
		if (host_pwrite(img->file, buf, min_u64(len - off, sizeof buf),
			host + off, e))
			return -1;
	}
	return host_sync(img->file, e);
}

/* A longer table: in its place where its last sector has room, or elsewhere. */
static int grow_table(struct image *img, uint32_t n, struct err *e)
{
	struct vpc *v = vpc_of(img);
	struct vpc_header *h = &v->header;
	uint64_t host = h->bat_host, old_host = host;
	uint64_t old_len = round_up(4ull * h->bat_n, SECTOR_LEN);

	if (round_up(4ull * n, SECTOR_LEN) > old_len &&
	    take_room(img, 4ull * n, &host, e))
		return -1;
	if (write_table(img, host, n, e))
		return -1;
	h->bat_host = host;
	h->bat_n = n;
	if (store_header(img, e))
		return -1;
	rwlock_excl(&img->meta);
	flat_use_table(&v->flat, host, n);
	if (host != old_host)
		space_give(&v->flat.space, old_host, old_len);
	rwlock_excl_end(&img->meta);
	return 0;
}

/* ---- resize
 * ------------------------------------------------------------------------------
 */

static int resize_blocks(struct image *img, uint64_t size, struct err *e)
{
	struct vpc *v = vpc_of(img);
	uint64_t old = img_size(img), n = div_up(size, v->flat.block_len);

	if (size < old) {
		if (resize_drop(img, size, e) || image_commit(img, e))
			return -1;
		return 0;
	}
	if (n > v->header.bat_n && grow_table(img, (uint32_t)n, e))
		return -1;
	atomic_store(&img->size, size);
	if (!resize_hide(img, old, size, e) && !image_commit(img, e))
		return 0;
	atomic_store(&img->size, old);
	return -1;
}

int vpc_resize(
    struct image *img, uint64_t size, enum img_prealloc prealloc, struct err *e)
{
	uint64_t old;

	if (prealloc != IMG_PREALLOC_OFF)
		return err_unsupported(
		    e, "Preallocation is not supported for vpc images");
	if (!is_aligned(size, SECTOR_LEN) ||
	    size / SECTOR_LEN > VPC_SECTORS_MAX)
		return err_usage(e,
		    "The size of a VHD must be a multiple of 512, at most 2040 "
		    "GiB");
	if (image_commit(img, e))
		return -1;
	if (vpc_of(img)->footer.type == VPC_FIXED)
		return resize_fixed(img, size, e);
	old = img_size(img);
	if (resize_blocks(img, size, e))
		return -1;
	set_size(img, size);
	return size < old ? vpc_settle(img, e) : vpc_footers_store(img, e);
}

/* ---- the parent
 * -----------------------------------------------------------------------------
 */

/* One that is not there is the one of before, elsewhere. */
static int identify(
    struct image *img, const char *name, struct vpc_header *h, struct err *e)
{
	if (!vpc_parent_identity(img->name, name, h, e))
		return 0;
	if (e->errnum != ENOENT || vpc_of(img)->footer.type != VPC_DIFF)
		return -1;
	err_clear(e);
	return 0;
}

/* Where the new header goes, and its locator behind it. */
static int place_parent(struct image *img, const char *name,
    struct vpc_header *h, uint64_t *host, struct err *e)
{
	uint8_t p[VPC_HEADER_LEN];
	struct vpc_name locator;

	if (identify(img, name, h, e) ||
	    vpc_set_parent(h, name, 0, &locator, e) ||
	    take_room(img, VPC_HEADER_LEN + locator.len, host, e))
		return -1;
	h->locator[0].host = *host + VPC_HEADER_LEN;
	vpc_header_pack(p, h);
	return host_pwrite(img->file, p, sizeof p, *host, e) ||
		       host_pwrite(img->file, locator.text, locator.len,
			   h->locator[0].host, e) ||
		       host_sync(img->file, e)
		   ? -1
		   : 0;
}

/*
 * Without a parent it is a dynamic disk; sectors that it does not have are
 * zeroes then.
 */
int vpc_set_backing(struct image *img, const char *name, const char *format,
    bool trial, struct err *e)
{
	struct vpc *v = vpc_of(img);
	struct vpc_header h = v->header;
	uint64_t host = v->footer.header_host;

	if (name && v->footer.type == VPC_FIXED)
		return err_unsupported(
		    e, "A fixed VHD image cannot have a backing file");
	if (name && format && strcmp(format, "vpc"))
		return err_usage(e,
		    "The backing file of a VHD image must be a VHD image, not "
		    "%s",
		    format);
	if (trial)
		return 0;
	if (name && place_parent(img, name, &h, &host, e))
		return -1;
	v->header = h;
	v->footer.header_host = host;
	v->footer.type = name ? VPC_DIFF : v->footer.type;
	if (!name && v->footer.type == VPC_DIFF)
		v->footer.type = VPC_DYNAMIC;
	return vpc_footers_store(img, e);
}

/* ---- empty
 * -----------------------------------------------------------------------------------
 */

static int drop_block(struct flat *f, uint64_t ix, const struct flat_block *b,
    const char *fault, void *arg, struct err *e)
{
	const struct flat_block hole = {.kind = EXT_HOLE};

	(void)arg;
	return !fault && b->kind == EXT_HOLE ? 0 : flat_put(f, ix, &hole, e);
}

/* Whichever entries a crash leaves, the disk reads the same, since what is
 * below has all of it. */
int vpc_make_empty(struct image *img, struct err *e)
{
	struct vpc *v = vpc_of(img);

	if (v->footer.type != VPC_DIFF)
		return 0;
	if (flat_each(&v->flat, drop_block, NULL, e) || image_commit(img, e))
		return image_fail(img, e);
	tables_forget_level(v->flat.tables, TABLE_MAP);
	return vpc_settle(img, e);
}
