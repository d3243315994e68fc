/* SPDX-License-Identifier: BSD-3-Clause */
/* Opening Parallels images, and the driver: see parallels.h. */
#include <errno.h>

#include "parallels.h"

/* ---- entries ------------------------------------------------------------- */

static const char *decode(
    const struct flat *f, const uint8_t *p, struct flat_block *b)
{
	const struct parallels *v = parallels_of(f->img);
	uint64_t host = le32(p) * v->entry_unit;

	if (!host) {
		b->kind = EXT_HOLE;
		return NULL;
	}
	if (host < f->space.base)
		return "points to where no clusters are";
	b->kind = EXT_DATA;
	b->host = host;
	return NULL;
}

static void encode(const struct flat *f, uint8_t *p, const struct flat_block *b)
{
	const struct parallels *v = parallels_of(f->img);
	uint64_t entry = b->kind == EXT_DATA ? b->host / v->entry_unit : 0;

	put_le32(p, (uint32_t)entry);
}

static const struct flat_ops ops = {.decode = decode, .encode = encode};

/* ---- open ---------------------------------------------------------------- */

static bool probe(const struct probe_in *p)
{
	return p->head_len >= PARALLELS_HEADER_LEN &&
	       (!memcmp(p->head, PARALLELS_MAGIC, PARALLELS_MAGIC_LEN) ||
		   !memcmp(
		       p->head, PARALLELS_MAGIC_OLD, PARALLELS_MAGIC_LEN)) &&
	       le32(p->head + PARALLELS_F_VERSION) == PARALLELS_VERSION;
}

static void close_image(struct image *img)
{
	struct parallels *v = parallels_of(img);

	flat_destroy(&v->f);
	free(v);
	img->priv = NULL;
}

/* Checked and accepted: space is taken as it is written. */
static int read_options(struct options *o, struct err *e)
{
	const char *mode = options_get(o, "prealloc-mode");
	uint64_t len;

	if (options_size(o, "prealloc-size", &len, e) < 0)
		return -1;
	if (mode && strcmp(mode, "falloc") && strcmp(mode, "truncate"))
		return err_usage(e, "invalid parameter value: %s", mode);
	return 0;
}

static int open_flat(struct image *img, struct err *e)
{
	struct parallels *v = parallels_of(img);
	const struct parallels_header *h = &v->h;

	v->entry_unit = h->old ? SECTOR_LEN : h->cluster_len;
	v->f = (struct flat){.img = img,
	    .ops = &ops,
	    .table_host = PARALLELS_HEADER_LEN,
	    .entry_len = 4,
	    .block_n = h->block_n,
	    .block_len = h->cluster_len,
	    .space_len = h->cluster_len};
	img->unit = h->cluster_len;
	atomic_store(&img->size, h->size);
	return flat_init(&v->f, h->data_host,
	    max_u64(h->data_host, PARALLELS_ENTRY_MAX * v->entry_unit), e);
}

/*
 * Old images need not say where clusters begin: the first one that there is
 * tells where others can be.
 */
static int find_first(struct flat *f, uint64_t ix, const struct flat_block *b,
    const char *fault, void *arg, struct err *e)
{
	uint64_t *base = arg;

	(void)ix, (void)fault, (void)e;
	if (b->kind == EXT_DATA && !*base)
		*base =
		    f->space.base + (b->host - f->space.base) % f->space_len;
	return 0;
}

static int find_base(struct image *img, struct err *e)
{
	struct parallels *v = parallels_of(img);
	uint64_t base = 0;

	if (v->h.data_given || !v->h.old)
		return 0;
	if (flat_each(&v->f, find_first, &base, e))
		return -1;
	if (base)
		v->h.data_host = v->f.space.base = base;
	return 0;
}

static int open_image(struct image *img, struct options *o, struct err *e)
{
	uint8_t buf[PARALLELS_HEADER_LEN];
	struct parallels *v;

	v = calloc(1, sizeof *v);
	if (!v)
		return err_nomem(e);
	img->priv = v;
	if (!read_options(o, e) &&
	    !host_pread(img->file, buf, sizeof buf, 0, e) &&
	    !parallels_header_parse(
		buf, host_size(img->file), img->name, &v->h, e) &&
	    !open_flat(img, e))
		return 0;
	close_image(img);
	return -1;
}

/* Not closed properly, and to be written. */
static int recover(struct image *img, struct err *e)
{
	struct img_check found;

	img->flags |= IMG_O_CHECK;
	if (parallels_repair(img, IMG_REPAIR_ALL, &found, NULL, NULL, e)) {
		err_prefix(e,
		    "%s: was not closed properly, and could not be repaired: ",
		    img->name);
		return -1;
	}
	img->flags &= ~IMG_O_CHECK;
	return 0;
}

static int start(struct image *img, struct err *e)
{
	struct parallels *v = parallels_of(img);

	if (!image_writable(img))
		return 0;
	if (find_base(img, e) || parallels_ext_droppable(img, e))
		return -1;
	if (img->flags & IMG_O_CHECK)
		return 0;
	if (v->h.in_use && recover(img, e))
		return -1;
	if (flat_scan(&v->f, NULL, e))
		return -1;
	v->h.in_use = true;
	v->h.ext_host = 0;
	return parallels_header_write(img, e);
}

int parallels_settle(struct image *img, struct err *e)
{
	struct parallels *v = parallels_of(img);
	uint64_t end = space_end(&v->f.space);

	if (!img->file->fixed_size && host_size(img->file) > end &&
	    (host_truncate(img->file, end, e) || host_sync(img->file, e)))
		return -1;
	v->h.in_use = false;
	return parallels_header_write(img, e);
}

static int stop(struct image *img, struct err *e)
{
	return img->flags & IMG_O_CHECK ? 0 : parallels_settle(img, e);
}

static int describe(struct image *img, struct img_info *out, struct err *e)
{
	(void)img, (void)e;
	out->dirty = -1;
	return 0;
}

const struct driver parallels_driver = {
    .info =
	{
	    .name = "parallels",
	    .can_create = true,
	    .can_check = true,
	    .can_resize = true,
	    .can_measure = true,
	    .create_opts = parallels_create_opts,
	},
    .probe = probe,
    .open = open_image,
    .start = start,
    .stop = stop,
    .close = close_image,
    .map = flat_map,
    .reserve = flat_reserve,
    .publish = flat_publish,
    .abandon = flat_abandon,
    .unmap = flat_unmap,
    .release = flat_release,
    .commit = flat_commit,
    .create = parallels_create,
    .create_check = parallels_create_check,
    .resize = parallels_resize,
    .walk = parallels_walk,
    .check = parallels_check,
    .repair = parallels_repair,
    .measure = parallels_measure,
    .describe = describe,
    .bitmaps = &parallels_bitmap_ops,
};
