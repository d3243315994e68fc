/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Making and resizing images.  Options are read and checked before any file is
 * touched, so a wrong one never costs an existing image.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "../host/nbd_name.h"
#include "hints.h"
#include "open.h"
#include "optcheck.h"
#include "prealloc.h"
#include "registry.h"
#include "request.h"

static const struct driver *find_creator(const char *format, struct err *e)
{
	const struct driver *drv = registry_find(format);

	if (!drv)
		err_unsupported(e, "Unknown file format '%s'", format);
	else if (!drv->create)
		err_unsupported(e,
		    "Format driver '%s' does not support image creation",
		    format);
	else
		return drv;
	return NULL;
}

static bool same_file(const char *a, const char *b)
{
	struct stat x, y;

	return !stat(a, &x) && !stat(b, &y) && x.st_dev == y.st_dev &&
	       x.st_ino == y.st_ino;
}

/* What is to be made must not destroy what it will be read through. */
static int check_not_below(
    const char *name, const struct image *backing, struct err *e)
{
	const char *path;

	if (nbd_is_name(name))
		return 0;
	path = open_plain_path(name, e);
	if (!path)
		return -1;
	if (same_file(path, backing->file->name))
		return err_usage(e,
		    "Error: Trying to create an image with the same filename "
		    "as the backing file");
	for (backing = backing->backing; backing; backing = backing->backing)
		if (same_file(path, backing->file->name))
			return err_usage(e,
			    "Error: Trying to create an image in place of '%s' "
			    "in its backing chain",
			    backing->file->name);
	return 0;
}

/* Open the backing file to see that it is there, and for its size. */
static int look_at_backing(
    const struct create_args *a, bool need_size, uint64_t *size, struct err *e)
{
	struct img_open how = {
	    .format = a->backing_fmt, .flags = IMG_O_FORCE_SHARE};
	CLEANUP_FREE char *full = image_resolve(a->name, a->backing, e);
	CLEANUP(image) struct image *img = NULL;

	if (!full)
		return -1;
	img = open_named_file(full, &how, e);
	if (!img) {
		err_hint(e, "Could not open backing image.");
		return -1;
	}
	if (!a->backing_fmt) {
		err_usage(e, "Backing file specified without backing format");
		err_hint(e, "Detected format of %s.", img->drv->info.name);
		return -1;
	}
	if (need_size)
		*size = img_size(img);
	return check_not_below(a->name, img, e);
}

static int check_backing_allowed(
    const struct driver *drv, const struct create_args *a, struct err *e)
{
	if (a->backing && !*a->backing)
		return err_usage(
		    e, "Expected backing file name, got empty string");
	if (a->backing && !drv->info.can_backing)
		return err_unsupported(e,
		    "Backing file not supported for file format '%s'",
		    drv->info.name);
	if (a->backing_fmt && !drv->info.can_backing)
		return err_unsupported(e,
		    "Backing format not supported for file format '%s'",
		    drv->info.name);
	if (a->backing_fmt && !registry_find(a->backing_fmt))
		return err_usage(
		    e, "Invalid backing format '%s'", a->backing_fmt);
	if (a->backing && !strcmp(a->backing, a->name))
		return err_usage(e,
		    "Error: Trying to create an image with the same filename "
		    "as the backing file");
	return 0;
}

/* Read what all formats share. */
static int read_common(const struct driver *drv, struct create_args *a,
    bool unchecked, struct err *e)
{
	int sized = options_size(a->o, "size", &a->size, e);

	if (sized < 0)
		return -1;
	a->backing = options_get(a->o, "backing_file");
	a->backing_fmt = options_get(a->o, "backing_fmt");
	if (check_backing_allowed(drv, a, e))
		return -1;
	if (a->backing && unchecked && !a->backing_fmt)
		return err_usage(
		    e, "Backing file specified without backing format");
	if (a->backing && !unchecked) {
		uint64_t size;

		if (look_at_backing(a, !sized, &size, e))
			return -1;
		if (!sized)
			a->size = size;
		sized = 1;
	}
	if (!sized)
		return err_usage(e, "Image creation needs a size parameter");
	if (a->size > IMG_SIZE_MAX - (SECTOR_LEN - 1))
		return err_set(
		    e, ERR_USAGE, EFBIG, "Image size must be less than 8 EiB");
	a->size = round_up(a->size, SECTOR_LEN);
	return 0;
}

static bool is_backing(const char *key)
{
	return !strcmp(key, "backing_file") || !strcmp(key, "backing_fmt");
}

/* `any`: a backing file may be named, even if the format has none. */
static int check_known(
    const struct driver *drv, const struct options *o, bool any, struct err *e)
{
	const char *key, *value;

	for (unsigned i = 0; options_at(o, i, &key, &value); i++)
		if (!opt_find(drv->info.create_opts, key) &&
		    !opt_find(img_file_opts, key) && !(any && is_backing(key)))
			return err_usage(e, "Invalid parameter '%s'", key);
	return 0;
}

static int check_types(
    const struct driver *drv, struct options *o, struct err *e)
{
	return opts_check_types(drv->info.create_opts, o, e) ||
		       opts_check_types(img_file_opts, o, e)
		   ? -1
		   : 0;
}

bool img_create_makes_files(const char *format, struct options *o)
{
	const struct driver *drv = registry_find(format);

	return drv && drv->makes_files && drv->makes_files(o);
}

void img_remove(const char *name, const char *format)
{
	const struct img_open how = {
	    .format = format, .flags = IMG_O_FORCE_SHARE | IMG_O_NO_BACKING};
	struct err ignored = ERR_INIT;
	CLEANUP(image) struct image *img = img_open(name, &how, &ignored);

	if (!img || !img->drv->unlink_files)
		return;
	img->drv->unlink_files(img);
	unlink(img->file->name);
}

int img_move(const char *name, const char *to, const char *format,
    unsigned flags, struct err *e)
{
	const struct img_open how = {.format = format,
	    .flags = IMG_O_RDWR | IMG_O_NO_BACKING,
	    .cache = flags & IMG_MOVE_DURABLE ? IMG_CACHE_WRITEBACK
					      : IMG_CACHE_UNSAFE};
	struct image *img = img_open(name, &how, e);
	int rc;

	if (!img)
		return -1;
	rc = img->drv->move
		 ? img->drv->move(img, to, flags & IMG_MOVE_REPLACE, e)
		 : err_unsupported(e, "%s: it cannot be renamed", name);
	return img_close(img, e) ? -1 : rc;
}

int img_create_check(const char *format, struct options *o, struct err *e)
{
	const struct driver *drv = find_creator(format, e);

	return !drv || check_known(drv, o, false, e) || check_types(drv, o, e)
		   ? -1
		   : 0;
}

/* What can be said without the driver: names, types, size, backing file. */
static int prepare_common(const struct driver *drv, struct create_args *a,
    bool unchecked, struct err *e)
{
	if (check_known(drv, a->o, true, e) || check_types(drv, a->o, e))
		return -1;
	return read_common(drv, a, unchecked, e);
}

/* Files take this option.  That of a format without it is empty when it is
 * made, so there is nothing to preallocate. */
static int check_prealloc(
    const struct driver *drv, struct options *o, struct err *e)
{
	enum img_prealloc how;

	if (opt_find(drv->info.create_opts, "preallocation"))
		return 0;
	return prealloc_read(o, &how, e);
}

/* A file is made; other storage has to be there. */
static int check_kind(const struct driver *drv, const char *name, struct err *e)
{
	const char *kind = drv->info.name;

	if (!storage_is_driver(kind) || !storage_check_kind(name, kind, e))
		return 0;
	err_prefix(e,
	    "Protocol driver '%s' does not support image creation, and opening "
	    "the image failed: ",
	    kind);
	return -1;
}

static int prepare(const struct driver *drv, struct create_args *a,
    bool unchecked, struct err *e)
{
	struct hints h;

	if (prepare_common(drv, a, unchecked, e) || hints_read(a->o, &h, e) ||
	    check_prealloc(drv, a->o, e) || check_kind(drv, a->known_as, e))
		return -1;
	return drv->create_check ? drv->create_check(a, e) : 0;
}

int img_create_prepare(const char *name, const char *format, struct options *o,
    unsigned flags, struct err *e)
{
	const struct driver *drv = find_creator(format, e);
	struct create_args a = {.name = name, .o = o};
	char size[24];

	if (!drv || open_storage_check(name, e) ||
	    prepare_common(drv, &a, flags & IMG_CREATE_UNCHECKED, e))
		return -1;
	if (options_has(o, "size"))
		return 0;
	snprintf(size, sizeof size, "%llu", (unsigned long long)a.size);
	return options_set(o, "size", size, e);
}

/* Exports of an NBD server are only used, never made. */
static struct hostfile *open_to_create(const char *name, struct err *e)
{
	struct hostfile *f = open_storage(name, HOST_RDWR | HOST_CREATE, e);

	if (!f && nbd_is_name(name))
		err_prefix(e,
		    "Protocol driver 'nbd' does not support creating new "
		    "images, so an existing image must be selected as the "
		    "target; however, opening the given target as an existing "
		    "image failed: ");
	return f;
}

int img_create_as(const char *name, const char *known_as, const char *format,
    struct options *o, unsigned flags, struct err *e)
{
	const struct driver *drv = find_creator(format, e);
	struct create_args a = {.name = name, .known_as = known_as, .o = o};
	struct hints h;
	int rc;

	if (!drv || open_storage_check(name, e) ||
	    prepare(drv, &a, flags & IMG_CREATE_UNCHECKED, e) ||
	    hints_read(o, &h, e))
		return -1;
	a.file = open_to_create(name, e);
	if (!a.file)
		return -1;
	rc = open_lock(a.file, e);
	if (!rc && !a.file->fixed_size)
		rc = host_truncate(a.file, 0, e);
	if (!rc) {
		hints_give(a.file, &h);
		rc = drv->create(&a, e);
		/* Nobody has put it under another name. */
		if (rc && !a.file->fixed_size && drv->makes_files &&
		    drv->makes_files(o))
			unlink(a.file->name);
	}
	return host_close(a.file, e) ? -1 : rc;
}

int img_create(const char *name, const char *format, struct options *o,
    unsigned flags, struct err *e)
{
	return img_create_as(name, name, format, o, flags, e);
}

int img_create_host(
    struct hostfile *f, const char *format, struct options *o, struct err *e)
{
	const struct driver *drv = find_creator(format, e);
	struct create_args a = {
	    .name = f->name, .known_as = f->name, .o = o, .file = f};

	if (!drv || prepare(drv, &a, true, e))
		return -1;
	return drv->create(&a, e);
}

int image_resize(
    struct image *img, uint64_t size, enum img_prealloc prealloc, struct err *e)
{
	int rc = bitmaps_resize_begin(img, size, e);

	if (rc)
		return -1;
	rc = img->drv->resize(img, size, prealloc, e);
	return bitmaps_resize_end(img, size, e) ? -1 : rc;
}

int img_resize(
    struct image *img, uint64_t size, enum img_prealloc prealloc, struct err *e)
{
	int rc;

	if (request_check_write(img, 0, 0, e))
		return -1;
	if (!img->drv->resize)
		return err_unsupported(
		    e, "Image format driver does not support resize");
	if (size > IMG_SIZE_MAX)
		return err_set(e, ERR_USAGE, EFBIG,
		    "%s: a disk of %llu bytes is too large", img->name,
		    (unsigned long long)size);
	if (prealloc != IMG_PREALLOC_OFF && size < img_size(img))
		return err_usage(
		    e, "Preallocation can only be used for growing images");
	gate_close(&img->gate);
	rc = image_resize(img, size, prealloc, e);
	gate_open(&img->gate);
	return rc;
}

int img_measure(const char *format, struct options *o, struct image *src,
    struct img_measure *out, struct err *e)
{
	const struct driver *drv = find_creator(format, e);
	uint64_t size = 0;

	if (!drv || check_known(drv, o, true, e) || check_types(drv, o, e))
		return -1;
	if (!drv->measure)
		return err_unsupported(e,
		    "Block driver '%s' does not support size measurement",
		    format);
	if (options_size(o, "size", &size, e) < 0)
		return -1;
	if (src)
		size = img_size(src);
	if (size > IMG_SIZE_MAX - (SECTOR_LEN - 1))
		return err_set(
		    e, ERR_USAGE, EFBIG, "Image size must be less than 8 EiB");
	return drv->measure(o, round_up(size, SECTOR_LEN), src, out, e);
}
