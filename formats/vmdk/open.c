/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Opening VMDK images: one file with everything in it, or a descriptor and the
 * files of its extents.
 */
#include <errno.h>
#include <stdlib.h>

#include "vmdk.h"

static bool probe(const struct probe_in *p)
{
	if (p->head_len >= 8 && le32(p->head) == VMDK_MAGIC)
		return le32(p->head + 4) >= 1 && le32(p->head + 4) <= 3;
	if (p->head_len >= SECTOR_LEN && le32(p->head) == VMDK_COWD)
		return le32(p->head + 4) == 1 || le32(p->head + 4) == 3;
	return vmdk_desc_probe(p->head, p->head_len);
}

/* ---- the descriptor ------------------------------------------------------ */

static char *read_text(
    struct image *img, uint64_t host, uint64_t room, struct err *e)
{
	uint64_t size = host_size(img->file), len;
	char *text;

	len = host < size ? min_u64(room, size - host) : 0;
	text = calloc(1, len + 1);
	if (!text) {
		err_nomem(e);
		return NULL;
	}
	if (!len || !host_pread(img->file, text, len, host, e))
		return text;
	free(text);
	return NULL;
}

static int read_embedded(
    struct image *img, const struct vmdk_header *h, struct err *e)
{
	struct vmdk_desc *d = &vmdk_of(img)->desc;
	char *text;

	if (h->desc_n > VMDK_DESC_LEN_MAX / SECTOR_LEN || h->desc > UINT32_MAX)
		return err_damaged(e,
		    "%s: sparse header: a descriptor of %llu sectors at sector "
		    "%llu",
		    img->name, (unsigned long long)h->desc_n,
		    (unsigned long long)h->desc);
	d->host = h->desc * SECTOR_LEN;
	d->room = h->desc ? h->desc_n * SECTOR_LEN : 0;
	text = read_text(img, d->host, d->room, e);
	return text ? vmdk_desc_parse(d, text, img->name, true, e) : -1;
}

static int set_type(struct vmdk_desc *d, const char *type, struct err *e)
{
	if (d->create_type)
		return 0;
	d->create_type = strdup(type);
	return d->create_type ? 0 : err_nomem(e);
}

/* ---- one file --------------------------------------------------------------
 */

static int open_single(struct image *img, enum vmdk_kind kind, struct err *e)
{
	struct vmdk *v = vmdk_of(img);
	struct vmdk_extent *x = calloc(1, sizeof *x);

	if (!x)
		return err_nomem(e);
	v->extent = x;
	v->n = 1;
	v->embedded = true;
	x->kind = kind;
	x->file = img->file;
	return vmdk_sparse_open(img, x, e);
}

static int open_hosted(struct image *img, const uint8_t *head, struct err *e)
{
	struct vmdk_header h;

	if (vmdk_header_unpack(&h, head, img->name, e) ||
	    read_embedded(img, &h, e))
		return -1;
	return set_type(&vmdk_of(img)->desc, "monolithicSparse", e) ||
		       open_single(img, VMDK_SPARSE, e)
		   ? -1
		   : 0;
}

/* An ESX extent without its descriptor: a disk of its own. */
static int open_cowd(struct image *img, struct err *e)
{
	struct vmdk_desc *d = &vmdk_of(img)->desc;
	char *none = calloc(1, 1);

	if (!none)
		return err_nomem(e);
	return vmdk_desc_parse(d, none, img->name, true, e) ||
		       set_type(d, "vmfsSparse", e) ||
		       open_single(img, VMDK_COW, e)
		   ? -1
		   : 0;
}

/* ---- a descriptor ----------------------------------------------------- */

static int check_type(const struct vmdk_desc *d, struct err *e)
{
	static const char *const known[] = {"monolithicFlat",
	    "monolithicSparse", "streamOptimized", "twoGbMaxExtentFlat",
	    "twoGbMaxExtentSparse", "vmfs", "vmfsSparse", "seSparse"};

	for (size_t i = 0; i < ARRAY_N(known); i++)
		if (!strcmp(d->create_type, known[i]))
			return 0;
	return err_unsupported(
	    e, "Unsupported image type '%.100s'", d->create_type);
}

static int check_access(const struct image *img, struct err *e)
{
	const struct vmdk_desc *d = &vmdk_of(img)->desc;

	for (size_t i = 0; i < d->line_n; i++)
		if (d->line[i].read_only && image_writable(img))
			return err_set(e, ERR_UNSUPPORTED, EROFS,
			    "%s: the descriptor says that extent %zu is "
			    "read-only",
			    img->name, i);
	return 0;
}

static int open_descriptor(struct image *img, struct err *e)
{
	struct vmdk *v = vmdk_of(img);
	char *text;

	if (host_size(img->file) > VMDK_DESC_LEN_MAX)
		return err_set(
		    e, ERR_NOT_FORMAT, EINVAL, "invalid VMDK image descriptor");
	text = read_text(img, 0, VMDK_DESC_LEN_MAX, e);
	if (!text || vmdk_desc_parse(&v->desc, text, img->name, false, e) ||
	    check_type(&v->desc, e) || check_access(img, e))
		return -1;
	return vmdk_extents_open(img, e);
}

/* ---- the whole -------------------------------------------------------- */

static bool sparse(const struct vmdk_extent *x)
{
	return x->kind != VMDK_FLAT && x->kind != VMDK_ZERO;
}

/* A disk is written in units that are the grains of all of its extents. */
static int take_unit(struct image *img, struct err *e)
{
	const struct vmdk *v = vmdk_of(img);
	uint64_t unit = 1;
	bool regular = true;

	for (size_t i = 0; i < v->n; i++)
		if (sparse(&v->extent[i]))
			unit = max_u64(unit, v->extent[i].grain_len);
	for (size_t i = 0; i < v->n; i++) {
		const struct vmdk_extent *x = &v->extent[i];

		if (!is_aligned(x->guest, unit) ||
		    (sparse(x) && x->grain_len != unit) ||
		    (v->n > 1 && x->compressed))
			regular = false;
	}
	if (!regular && image_writable(img))
		return err_set(e, ERR_UNSUPPORTED, EROFS,
		    "%s: its extents do not begin and end with grains of one "
		    "length: it can be read, not written",
		    img->name);
	img->unit = (uint32_t)(regular ? unit : 1);
	return 0;
}

static int take_names(struct image *img, struct err *e)
{
	const char *parent = vmdk_of(img)->desc.parent;

	if (!parent)
		return 0;
	img->backing_name = strdup(parent);
	img->backing_fmt = strdup("vmdk");
	return img->backing_name && img->backing_fmt ? 0 : err_nomem(e);
}

static int open_files(struct image *img, struct err *e)
{
	uint8_t head[SECTOR_LEN] = {0};
	size_t len = min_u64(sizeof head, host_size(img->file));

	if (len && host_pread(img->file, head, len, 0, e))
		return -1;
	if (le32(head) == VMDK_MAGIC)
		return open_hosted(img, head, e);
	if (le32(head) == VMDK_COWD)
		return open_cowd(img, e);
	return open_descriptor(img, e);
}

static int take_facts(struct image *img, struct err *e)
{
	const struct vmdk *v = vmdk_of(img);
	const struct vmdk_extent *last = v->n ? &v->extent[v->n - 1] : NULL;

	if (take_names(img, e) || take_unit(img, e))
		return -1;
	atomic_store(&img->size, last ? last->guest + last->len : 0);
	img->packs_only = v->n == 1 && last->compressed;
	img->codec = img->packs_only ? CODEC_ZLIB : CODEC_NONE;
	if (img->packs_only && image_writable(img) &&
	    !(last->h.flags & VMDK_F_MARKERS))
		return err_set(e, ERR_UNSUPPORTED, EROFS,
		    "%s: compressed grains without markers can be read, not "
		    "written",
		    img->name);
	return 0;
}

static void close_image(struct image *img)
{
	struct vmdk *v = vmdk_of(img);

	for (size_t i = 0; i < v->n; i++)
		vmdk_extent_close(&v->extent[i]);
	free(v->extent);
	vmdk_desc_clear(&v->desc);
	free(v);
	img->priv = NULL;
}

static int open_image(struct image *img, struct options *o, struct err *e)
{
	struct vmdk *v;

	(void)o;
	v = calloc(1, sizeof *v);
	if (!v)
		return err_nomem(e);
	img->priv = v;
	if (!open_files(img, e) && !take_facts(img, e))
		return 0;
	close_image(img);
	return -1;
}

/* ---- start, stop ------------------------------------------------------ */

static int start(struct image *img, struct err *e)
{
	struct vmdk *v = vmdk_of(img);
	const struct image *parent = img->backing;
	bool checked = v->desc.parent && parent && parent->drv == &vmdk_driver;

	v->wrong_parent =
	    checked && !vmdk_desc_knows(&v->desc, vmdk_of(parent)->desc.cid);
	if (!image_writable(img) || (img->flags & IMG_O_CHECK))
		return 0;
	if (vmdk_desc_go_home(img, e) || (checked && vmdk_desc_settle(img, e)))
		return -1;
	for (size_t i = 0; i < v->n; i++) {
		struct vmdk_extent *x = &v->extent[i];

		if (sparse(x) && !x->compressed && vmdk_extent_own(img, x, e))
			return -1;
	}
	return 0;
}

static int stop(struct image *img, struct err *e)
{
	struct vmdk *v = vmdk_of(img);

	for (size_t i = 0; i < v->n; i++)
		if (!v->extent[i].lost_footer &&
		    vmdk_stream_finish(&v->extent[i], e))
			return -1;
	return 0;
}

static void unlink_files(struct image *img)
{
	const struct vmdk *v = vmdk_of(img);

	for (size_t i = 0; i < v->n; i++)
		if (v->extent[i].owns_file)
			unlink(v->extent[i].file->name);
}

const struct driver vmdk_driver = {
    .info =
	{
	    .name = "vmdk",
	    .can_create = true,
	    .can_backing = true,
	    .can_pack = true,
	    .can_check = true,
	    .can_resize = true,
	    .can_measure = true,
	    .create_opts = vmdk_create_opts,
	},
    .probe = probe,
    .open = open_image,
    .start = start,
    .first_write = vmdk_first_write,
    .stop = stop,
    .close = close_image,
    .map = vmdk_map,
    .reserve = vmdk_reserve,
    .publish = vmdk_publish,
    .abandon = vmdk_abandon,
    .unmap = vmdk_unmap,
    .commit = vmdk_commit,
    .create = vmdk_create,
    .makes_files = vmdk_makes_files,
    .move = vmdk_move,
    .unlink_files = unlink_files,
    .create_check = vmdk_create_check,
    .resize = vmdk_resize,
    .check = vmdk_check,
    .repair = vmdk_repair,
    .measure = vmdk_measure,
    .describe = vmdk_describe,
    .set_backing = vmdk_set_backing,
    .renew_below = vmdk_renew_below,
};
