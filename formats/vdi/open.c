/* SPDX-License-Identifier: BSD-3-Clause */
/* Opening VDI images, and the driver: see vdi.h. */
#include "../core/request.h"
#include "vdi.h"

/* ---- entries ------------------------------------------------------------- */

static const char *decode(
    const struct flat *f, const uint8_t *p, struct flat_block *b)
{
	uint32_t entry = le32(p);

	if (entry == VDI_HOLE) {
		b->kind = EXT_HOLE;
	} else if (entry == VDI_ZERO) {
		b->kind = EXT_ZERO;
	} else {
		b->kind = EXT_DATA;
		b->host = f->space.base + entry * f->space_len;
	}
	return NULL;
}

static void encode(const struct flat *f, uint8_t *p, const struct flat_block *b)
{
	uint32_t entry = b->kind == EXT_HOLE ? VDI_HOLE : VDI_ZERO;

	if (b->kind == EXT_DATA)
		entry = (uint32_t)((b->host - f->space.base) / f->space_len);
	put_le32(p, entry);
}

uint32_t vdi_used_n(const struct vdi *v)
{
	return (uint32_t)min_u64(v->f.space.end_ix, VDI_ZERO);
}

static int grown(struct flat *f, struct err *e)
{
	struct vdi *v = vdi_of(f->img);

	if (vdi_used_n(v) <= v->h.used_n)
		return 0;
	v->h.used_n = vdi_used_n(v);
	v->raised = true;
	return vdi_header_update(f->img, e);
}

static const struct flat_ops ops = {
    .decode = decode, .encode = encode, .grown = grown};

/* ---- open ---------------------------------------------------------------- */

static bool probe(const struct probe_in *p)
{
	return p->head_len >= VDI_HEADER_LEN &&
	       le32(p->head + VDI_F_SIGNATURE) == VDI_SIGNATURE &&
	       le32(p->head + VDI_F_VERSION) == VDI_VERSION;
}

static void close_image(struct image *img)
{
	struct vdi *v = vdi_of(img);

	tables_put(v->f.tables, v->head);
	flat_destroy(&v->f);
	free(v);
	img->priv = NULL;
}

static int open_flat(struct image *img, struct err *e)
{
	struct vdi *v = vdi_of(img);
	const struct vdi_header *h = &v->h;
	uint64_t space_len = (uint64_t)h->block_len + h->lead_len;

	v->f = (struct flat){.img = img,
	    .ops = &ops,
	    .table_host = h->map_host,
	    .block_n = h->block_n,
	    .entry_len = 4,
	    .block_len = h->block_len,
	    .space_len = space_len,
	    .lead_len = h->lead_len,
	    .has_zero = true,
	    .solid = true,
	    .keeps_data = true};
	img->unit = h->block_len;
	img->placed = h->type == VDI_STATIC;
	atomic_store(&img->size, h->size);
	return flat_init(
	    &v->f, h->data_host, h->data_host + VDI_ZERO * space_len, e);
}

static int open_image(struct image *img, struct options *o, struct err *e)
{
	uint8_t buf[VDI_HEADER_LEN];
	struct vdi *v;

	(void)o;
	v = calloc(1, sizeof *v);
	if (!v)
		return err_nomem(e);
	img->priv = v;
	if (!host_pread(img->file, buf, sizeof buf, 0, e) &&
	    !vdi_header_parse(buf, host_size(img->file), img->name, &v->h, e) &&
	    !open_flat(img, e))
		return 0;
	close_image(img);
	return -1;
}

int vdi_load_header(struct image *img, struct err *e)
{
	struct vdi *v = vdi_of(img);

	if (!v->head)
		v->head =
		    tables_get(v->f.tables, 0, VDI_HEADER_LEN, TABLE_COUNT, e);
	return v->head ? 0 : -1;
}

static int start(struct image *img, struct err *e)
{
	if (vdi_of(img)->h.has_parent && vdi_find_parent(img, e))
		return -1;
	if (!image_writable(img) || (img->flags & IMG_O_CHECK))
		return 0;
	return vdi_load_header(img, e) || flat_scan(flat_of(img), NULL, e) ? -1
									   : 0;
}

/* Reservations that were given up may have left the number too high. */
static int stop(struct image *img, struct err *e)
{
	struct vdi *v = vdi_of(img);
	int rc;

	if (!v->raised || v->h.used_n <= vdi_used_n(v))
		return 0;
	v->h.used_n = vdi_used_n(v);
	rwlock_excl(&img->meta);
	rc = vdi_header_update(img, e);
	if (!rc)
		rc = tables_write_counts(v->f.tables, e);
	rwlock_excl_end(&img->meta);
	return rc ? -1 : host_sync(img->file, e);
}

/* What is not in this image is not to be had from a parent of other contents.
 */
static int map(struct image *img, uint64_t guest, uint64_t len,
    struct extent *x, struct err *e)
{
	if (flat_map(img, guest, len, x, e))
		return -1;
	if (x->kind == EXT_HOLE && vdi_of(img)->wrong_parent)
		return vdi_wrong_parent(img, e);
	return 0;
}

static int describe(struct image *img, struct img_info *out, struct err *e)
{
	(void)e;
	out->cluster_size = vdi_of(img)->h.block_len;
	out->dirty = 0;
	return 0;
}

const struct driver vdi_driver = {
    .info =
	{
	    .name = "vdi",
	    .can_create = true,
	    .can_check = true,
	    .can_resize = true,
	    .can_measure = true,
	    .create_opts = vdi_create_opts,
	},
    .probe = probe,
    .open = open_image,
    .start = start,
    .stop = stop,
    .first_write = vdi_first_write,
    .close = close_image,
    .map = map,
    .reserve = flat_reserve,
    .publish = flat_publish,
    .abandon = flat_abandon,
    .unmap = flat_unmap,
    .release = flat_release,
    .commit = flat_commit,
    .create = vdi_create,
    .create_check = vdi_create_check,
    .resize = vdi_resize,
    .walk = vdi_walk,
    .check = vdi_check,
    .repair = vdi_repair,
    .measure = vdi_measure,
    .describe = describe,
    .renew_below = vdi_renew_below,
};
