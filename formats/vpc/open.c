/* SPDX-License-Identifier: BSD-3-Clause */
/* VHD as a driver: see vpc.h. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "../core/request.h"
#include "block.h"

/* Bytes that a write to a fixed disk locks. */
#define FIXED_UNIT    65536u
#define BLOCK_LEN_MAX (256u << 20)
#define HOST_MAX      ((uint64_t)VPC_NO_BLOCK * SECTOR_LEN)

static bool probe(const struct probe_in *p)
{
	struct vpc_footer f;

	if (p->head_len >= VPC_FOOTER_LEN && vpc_footer_ok(p->head)) {
		vpc_footer_unpack(p->head, &f);
		if (f.type == VPC_DYNAMIC || f.type == VPC_DIFF)
			return true;
	}
	return p->tail_len >= VPC_FOOTER_LEN &&
	       vpc_ends_fixed(p->tail, p->file_len);
}

static bool is_fixed(const struct image *img)
{
	return vpc_of(img)->footer.type == VPC_FIXED;
}

/* ---- entries ---------------------------------------------------------- */

static const char *decode(
    const struct flat *f, const uint8_t *p, struct flat_block *b)
{
	uint32_t entry = be32(p);

	(void)f;
	b->kind = entry == VPC_NO_BLOCK ? EXT_HOLE : EXT_DATA;
	b->host = (uint64_t)entry * SECTOR_LEN;
	return NULL;
}

static void encode(const struct flat *f, uint8_t *p, const struct flat_block *b)
{
	(void)f;
	put_be32(p, b->kind == EXT_DATA ? (uint32_t)(b->host / SECTOR_LEN)
					: VPC_NO_BLOCK);
}

static const struct flat_ops ops = {.decode = decode, .encode = encode};

/* ---- open, close ------------------------------------------------------ */

static void close_image(struct image *img)
{
	struct vpc *v = vpc_of(img);

	flat_destroy(&v->flat);
	free(v);
	img->priv = NULL;
}

static int take_parent(struct image *img, struct err *e)
{
	img->backing_name = vpc_parent_name(img->file, &vpc_of(img)->header, e);
	if (!img->backing_name)
		return -1;
	img->backing_fmt = strdup("vpc");
	return img->backing_fmt ? 0 : err_nomem(e);
}

static int open_blocks(struct image *img, struct err *e)
{
	struct vpc *v = vpc_of(img);
	const struct vpc_header *h = &v->header;

	if (vpc_header_read(img->file, v->footer.header_host, &v->header, e))
		return -1;
	if (h->block_len > BLOCK_LEN_MAX ||
	    img_size(img) > (uint64_t)h->bat_n * h->block_len)
		return err_damaged(e,
		    "%s: %" PRIu32 " VHD blocks of %" PRIu32
		    " bytes: allowed are 256 MiB each, and all of the disk of "
		    "%" PRIu64,
		    img->name, h->bat_n, h->block_len, img_size(img));
	v->bitmap_len = (uint32_t)round_up(
	    div_up(h->block_len / SECTOR_LEN, 8), SECTOR_LEN);
	v->flat = (struct flat){.img = img,
	    .ops = &ops,
	    .table_host = h->bat_host,
	    .entry_len = 4,
	    .block_n = h->bat_n,
	    .block_len = h->block_len,
	    .space_len = (uint64_t)v->bitmap_len + h->block_len,
	    .unit_len = SECTOR_LEN,
	    .lead_len = v->bitmap_len,
	    .solid = true};
	img->unit = h->block_len;
	if (flat_init(&v->flat, 0, HOST_MAX, e))
		return -1;
	if (v->footer.type == VPC_DYNAMIC)
		return 0;
	img->grain = SECTOR_LEN;
	return take_parent(img, e);
}

/* Which of its two sizes the disk has. */
static int read_size(struct vpc *v, struct options *o, struct err *e)
{
	const char *how = options_get(o, "force_size_calc");

	if (!how || !*how)
		return 0;
	if (!strcmp(how, "current_size"))
		memcpy(v->footer.creator, "qem2", 4);
	else if (!strcmp(how, "chs"))
		memcpy(v->footer.creator, "qemu", 4);
	else
		return err_usage(e, "Invalid size calculation mode: '%s'", how);
	return 0;
}

static int open_image(struct image *img, struct options *o, struct err *e)
{
	struct vpc *v = calloc(1, sizeof *v);

	if (!v)
		return err_nomem(e);
	img->priv = v;
	if (vpc_footer_read(img->file, &v->footer, e) || read_size(v, o, e)) {
		close_image(img);
		return -1;
	}
	atomic_store(&img->size, vpc_disk_size(&v->footer));
	img->unit = FIXED_UNIT;
	img->placed = is_fixed(img);
	if (!is_fixed(img) && open_blocks(img, e)) {
		close_image(img);
		return -1;
	}
	return 0;
}

/* ---- who owns what ---------------------------------------------------- */

int vpc_claim_structures(struct flat *f, struct err *e)
{
	const struct vpc *v = vpc_of(f->img);
	const struct vpc_header *h = &v->header;

	if (space_claim(&f->space, 0, VPC_FOOTER_LEN, e) < 0 ||
	    space_claim(&f->space, v->footer.header_host, VPC_HEADER_LEN, e) <
		0 ||
	    space_claim(&f->space, h->bat_host, 4ull * h->bat_n, e) < 0)
		return -1;
	for (unsigned i = 0; i < VPC_LOCATORS; i++) {
		const struct vpc_locator *l = &h->locator[i];
		uint64_t len = host_size(f->img->file);

		if (!l->code || !l->len || l->host >= len)
			continue;
		len = min_u64(l->len, len - l->host);
		if (space_claim(&f->space, l->host, len, e) < 0)
			return -1;
	}
	return 0;
}

#define VPC_ID_TEXT 37u

static void id_text(const uint8_t *p, char out[VPC_ID_TEXT])
{
	snprintf(out, VPC_ID_TEXT, "%08x-%04x-%04x-%04x-%04x%08x", be32(p),
	    be16(p + 4), be16(p + 6), be16(p + 8), be16(p + 10), be32(p + 12));
}

/* A parent that is not the one that was meant shows other data. */
static int check_parent(struct image *img, struct err *e)
{
	const struct image *below = img->backing;
	const uint8_t *was = vpc_of(img)->header.parent_id;
	char is_text[VPC_ID_TEXT], was_text[VPC_ID_TEXT];

	if (!below || below->drv != &vpc_driver || (img->flags & IMG_O_CHECK) ||
	    !memcmp(vpc_of(below)->footer.id, was, 16))
		return 0;
	id_text(vpc_of(below)->footer.id, is_text);
	id_text(was, was_text);
	return image_wrong_parent(img, "unique ID", is_text, was_text, e);
}

/* Blocks take the place of the footer at the end: so it must not be the only
 * one. */
static int renew_copy(struct image *img, struct err *e)
{
	uint8_t p[VPC_FOOTER_LEN];

	if (host_pread(img->file, p, sizeof p, 0, e))
		return -1;
	if (vpc_footer_ok(p))
		return 0;
	return vpc_footer_store(img, 0, e) || host_sync(img->file, e) ? -1 : 0;
}

static int start(struct image *img, struct err *e)
{
	if (vpc_of(img)->footer.type == VPC_DIFF && check_parent(img, e))
		return -1;
	if (is_fixed(img) || !image_writable(img) || (img->flags & IMG_O_CHECK))
		return 0;
	return flat_scan(flat_of(img), vpc_claim_structures, e) ||
		       renew_copy(img, e)
		   ? -1
		   : 0;
}

/* ---- the footer at the end -------------------------------------------- */

int vpc_footer_store(struct image *img, uint64_t host, struct err *e)
{
	uint8_t p[VPC_FOOTER_LEN];

	vpc_footer_pack(p, &vpc_of(img)->footer);
	return host_pwrite(img->file, p, sizeof p, host, e);
}

/* It follows the last block.  The next block begins with a bitmap where the
 * footer is now, which is written by a later commit. */
static int commit(struct image *img, struct err *e)
{
	struct vpc *v = vpc_of(img);
	uint64_t end;

	if (is_fixed(img)) {
		image_commit_mark(img);
		return host_sync(img->file, e);
	}
	rwlock_shared(&img->meta);
	end = space_end(&v->flat.space);
	rwlock_shared_end(&img->meta);
	if (end != v->footer_end && tables_dirty_len(v->flat.tables)) {
		if (vpc_footer_store(img, end, e))
			return -1;
		v->footer_end = end;
	}
	return tables_commit(
	    v->flat.tables, img->file, image_commit_mark, img, e);
}

/* ---- the rest --------------------------------------------------------- */

static int map(struct image *img, uint64_t guest, uint64_t len,
    struct extent *x, struct err *e)
{
	if (!is_fixed(img))
		return vpc_block_map(img, guest, len, x, e);
	*x = (struct extent){.guest = guest,
	    .len = len,
	    .kind = EXT_DATA,
	    .file = img->file,
	    .host = guest};
	return 0;
}

/* Of a differencing disk nothing can be said to be zeroes. */
static int unmap(struct image *img, uint64_t guest, uint64_t len,
    enum unmap_how how, uint64_t *done, struct err *e)
{
	*done = 0;
	if (is_fixed(img) || guest % flat_of(img)->block_len)
		return 0;
	if (vpc_of(img)->footer.type == VPC_DYNAMIC)
		return flat_unmap(img, guest, len, how, done, e);
	if (how == UNMAP_TRIM)
		*done = len;
	return 0;
}

static int describe(struct image *img, struct img_info *out, struct err *e)
{
	(void)e;
	out->cluster_size = is_fixed(img) ? 0 : flat_of(img)->block_len;
	out->dirty = 0;
	return 0;
}

const struct driver vpc_driver = {
    .info =
	{
	    .name = "vpc",
	    .can_create = true,
	    .can_backing = true,
	    .can_check = true,
	    .can_resize = true,
	    .can_measure = true,
	    .create_opts = vpc_create_opts,
	},
    .probe = probe,
    .open = open_image,
    .start = start,
    .close = close_image,
    .map = map,
    .reserve = vpc_block_reserve,
    .publish = vpc_block_publish,
    .abandon = vpc_block_abandon,
    .unmap = unmap,
    .release = vpc_block_release,
    .commit = commit,
    .create = vpc_create,
    .create_check = vpc_create_check,
    .resize = vpc_resize,
    .check = vpc_check,
    .repair = vpc_repair,
    .measure = vpc_measure,
    .describe = describe,
    .make_empty = vpc_make_empty,
    .set_backing = vpc_set_backing,
};
