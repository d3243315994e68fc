/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * raw: the bytes of the disk are the bytes of the file, or of a part of it
 * (`offset`, `size`).
 *
 * Everything is DATA in place: there is nothing to reserve or publish.  Holes
 * of the host file are holes of the disk (`refines`).
 *
 * Kinds of storage can be named as the format too: file, host_device, nbd.
 * Then the image is the storage, all of it, and has to be of that kind.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/prealloc.h"
#include "driver.h"

struct raw {
	uint64_t start; /* host byte of guest byte 0 */
	bool part;	/* `size` was given: it cannot be resized */
};

/* `offset` and `size` select a part that lies inside the file. */
static int read_part(
    struct image *img, struct raw *r, struct options *o, struct err *e)
{
	uint64_t file_len = host_size(img->file), len;
	int given;

	if (options_size(o, "offset", &r->start, e) < 0)
		return -1;
	if (r->start > file_len)
		return err_usage(e,
		    "Offset (%llu) cannot be greater than size of the "
		    "containing file (%llu)",
		    (unsigned long long)r->start, (unsigned long long)file_len);
	len = file_len - r->start;
	given = options_size(o, "size", &len, e);
	if (given < 0)
		return -1;
	r->part = given;
	if (given && !is_aligned(len, SECTOR_LEN))
		return err_usage(e, "Specified size is not multiple of 512");
	if (!range_ok(r->start, len, file_len))
		return err_usage(e,
		    "The sum of offset (%llu) and size (%llu) has to be "
		    "smaller or equal to the actual size of the containing "
		    "file (%llu)",
		    (unsigned long long)r->start, (unsigned long long)len,
		    (unsigned long long)file_len);
	atomic_store(&img->size, len);
	return 0;
}

static int raw_open(struct image *img, struct options *o, struct err *e)
{
	struct raw *r;

	r = calloc(1, sizeof *r);
	if (!r)
		return err_nomem(e);
	if (read_part(img, r, o, e)) {
		free(r);
		return -1;
	}
	img->priv = r;
	img->refines = true;
	return 0;
}

static void raw_close(struct image *img)
{
	free(img->priv);
}

static int raw_map(struct image *img, uint64_t guest, uint64_t len,
    struct extent *x, struct err *e)
{
	const struct raw *r = img->priv;

	(void)e;
	x->len = len;
	x->kind = EXT_DATA;
	x->file = img->file;
	x->host = r->start + guest;
	return 0;
}

/* ---- create, resize, measure -------------------------------------------- */

static const struct img_opt create_opts[] = {
    {"size", IMG_OPT_SIZE, "Virtual disk size", NULL},
    {"preallocation", IMG_OPT_STR,
	"Preallocation mode (allowed values: off, falloc, full)", NULL},
    {0},
};

static int raw_create_check(const struct create_args *a, struct err *e)
{
	enum img_prealloc how;

	return prealloc_read(a->o, &how, e);
}

static int raw_create(const struct create_args *a, struct err *e)
{
	enum img_prealloc how;

	if (prealloc_read(a->o, &how, e))
		return -1;
	return prealloc_new(a->file, a->size, how, e);
}

static int raw_resize(
    struct image *img, uint64_t size, enum img_prealloc how, struct err *e)
{
	const struct raw *r = img->priv;
	uint64_t old = img_size(img), end;

	if (r->part)
		return err_usage(e, "Cannot resize fixed-size raw disks");
	if (!add_ok(r->start, size, &end) || end > IMG_SIZE_MAX)
		return err_set(e, ERR_SYSTEM, EFBIG, "%s: size %llu too large",
		    img->name, (unsigned long long)size);
	if (prealloc_resize(img, img->file, r->start + old, end, how, e))
		return -1;
	atomic_store(&img->size, size);
	return 0;
}

static int raw_measure(struct options *o, uint64_t size, struct image *src,
    struct img_measure *out, struct err *e)
{
	enum img_prealloc how;

	(void)src;
	if (prealloc_read(o, &how, e))
		return -1;
	out->required = out->fully_allocated = size;
	out->bitmaps = -1;
	return 0;
}

static int raw_walk(struct image *img, struct walker *w, struct err *e)
{
	const struct raw *r = img->priv;
	const struct walk_extent x = {.host = r->start,
	    .len = img_size(img),
	    .kind = META_DATA,
	    .owner = "guest data",
	    .guest = 0};

	return x.len ? w->extent(w, &x, e) : 0;
}

static int raw_describe(struct image *img, struct img_info *out, struct err *e)
{
	(void)img, (void)e;
	out->dirty = 0;
	return 0;
}

/* clang-format off */
#define RAW_METHODS							\
	.no_backing = true, .open = raw_open, .close = raw_close,	\
	.map = raw_map, .create = raw_create,				\
	.create_check = raw_create_check, .resize = raw_resize,		\
	.describe = raw_describe
/* clang-format on */

const struct driver raw_driver = {
    RAW_METHODS,
    .info =
	{
	    .name = "raw",
	    .can_create = true,
	    .can_resize = true,
	    .can_measure = true,
	    .create_opts = create_opts,
	},
    .measure = raw_measure,
    .walk = raw_walk,
};

const struct driver file_driver = {
    RAW_METHODS,
    .info =
	{
	    .name = "file",
	    .can_create = true,
	    .can_resize = true,
	    .create_opts = create_opts,
	},
};

const struct driver host_device_driver = {
    RAW_METHODS,
    .info =
	{
	    .name = "host_device",
	    .can_create = true,
	    .create_opts = create_opts,
	},
};

const struct driver nbd_driver = {
    RAW_METHODS,
    .info =
	{
	    .name = "nbd",
	    .can_create = true,
	    .create_opts = create_opts,
	},
};
