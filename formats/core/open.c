/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Opening an image and its backing chain.
 *
 * An image names its backing file itself, so the chain is input from outside:
 * its depth is limited, a file that stands above itself is refused, and no
 * file is opened that the caller's gate does not allow.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "image.h"
#include "imagefile.h"
#include "open.h"
#include "registry.h"
#include "treename.h"

#define CHAIN_DEPTH_MAX 256u

/* One level of a chain that is being opened. */
struct level {
	const struct img_open *how;
	const struct level *above; /* NULL: the top */
	const char *path;	   /* of its file, as opened */
	unsigned depth;
};

static struct image *open_named(const char *name, const struct level *above,
    const struct img_open *how, struct err *e);
static struct image *open_tree(struct options *o, const struct level *above,
    const struct img_open *how, struct err *e);

/* ---- one layer ---------------------------------------------------------- */

static const struct driver *find_driver(const char *format, struct err *e)
{
	const struct driver *drv = registry_find(format);

	if (!drv)
		err_unsupported(e, "Unknown driver '%s'", format);
	return drv;
}

static const struct driver *choose_driver(
    struct hostfile *f, const char *format, bool *probed, struct err *e)
{
	const struct driver *drv;

	*probed = !format;
	if (!format)
		return registry_probe(f, e);
	drv = find_driver(format, e);
	if (drv && storage_is_driver(format) &&
	    storage_check_kind(f->name, format, e))
		return NULL;
	return drv;
}

/* What any format takes; the caller has taken `driver` and `file`, and what
 * tree_flags() reads. */
static int generic_options(struct options *o, struct image *img, struct err *e)
{
	static const char *const taken[] = {
	    "cache.direct", "cache.no-flush", "read-only", NULL};
	struct node_options node;

	for (unsigned i = 0; taken[i]; i++)
		options_get(o, taken[i]);
	if (node_options_read(o, &node, e))
		return -1;
	if (node.discard_given)
		img->flags &= ~IMG_O_DISCARD;
	if (node.discard)
		img->flags |= IMG_O_DISCARD;
	img->detect_zeroes = node.detect_zeroes;
	return 0;
}

static int check_unused(
    const struct options *o, const struct image *img, struct err *e)
{
	const char *key = options_unused(o);

	if (!key)
		return 0;
	return err_usage(e,
	    "Block format '%s' does not support the option '%s'",
	    img->drv->info.name, key);
}

static bool stands_above(const struct level *l, const char *path)
{
	CLEANUP_FREE char *name = storage_identity(path);

	for (; name && l; l = l->above) {
		CLEANUP_FREE char *above =
		    l->path ? storage_identity(l->path) : NULL;

		if (above && !strcmp(above, name))
			return true;
	}
	return false;
}

/* How the layer below is opened: to be read, unless it was asked for. */
static struct img_open how_below(const struct level *l)
{
	struct img_open how = *l->how;

	how.flags &= ~(IMG_O_RDWR | IMG_O_CHECK);
	if (l->depth + 1 == how.writable_depth)
		how.flags |= IMG_O_RDWR;
	if (how.gate == IMG_GATE_OWN)
		how.gate = IMG_GATE_DENY;
	how.format = how.snapshot = NULL;
	how.options = NULL;
	return how;
}

/* The backing image that the header names. */
static struct image *open_recorded_backing(
    struct image *img, const struct level *l, struct err *e)
{
	struct img_open how = how_below(l);
	CLEANUP_FREE char *name = NULL;

	if (l->how->gate == IMG_GATE_DENY) {
		err_set(e, ERR_UNSUPPORTED, EPERM,
		    "%s: names the backing file '%s', and opening other files "
		    "is not allowed",
		    img->name, img->backing_name);
		return NULL;
	}
	name = image_resolve(img->name, img->backing_name, e);
	if (!name)
		return NULL;
	if (l->depth + 1 >= CHAIN_DEPTH_MAX) {
		err_set(e, ERR_DAMAGED, ELOOP,
		    "Backing file '%s' is one too many: a chain has at most %u",
		    name, CHAIN_DEPTH_MAX);
		return NULL;
	}
	if (stands_above(l, name)) {
		err_set(e, ERR_DAMAGED, ELOOP,
		    "Backing file '%s' creates an infinite loop.", name);
		return NULL;
	}
	how.format = img->backing_fmt;
	return open_named(name, l, &how, e);
}

static int open_backing(
    struct image *img, struct options *o, const struct level *l, struct err *e)
{
	CLEANUP(options) struct options *sub = options_sub(o, "backing", e);
	const char *given = options_get(o, "backing");
	struct img_open how = how_below(l);

	if (!sub)
		return -1;
	if (img->drv->no_backing && ((given && *given) || !options_empty(sub)))
		return err_usage(e, "Driver doesn't support backing files");
	if (given && *given)
		return err_usage(e,
		    "Could not open backing file: Cannot find device='%s' nor "
		    "node-name='%s'",
		    given, given);
	if ((l->how->flags & IMG_O_NO_BACKING) ||
	    l->how->gate == IMG_GATE_METADATA)
		return 0;
	if (!options_empty(sub)) {
		img->backing = open_tree(sub, l, &how, e);
	} else if (img->backing_name && !given) {
		img->backing = open_recorded_backing(img, l, e);
	} else {
		return 0;
	}
	if (img->backing) {
		img->has_backing = true;
		return 0;
	}
	err_prefix(e, "Could not open backing file: ");
	return -1;
}

static int start_layer(
    struct image *img, struct options *o, const struct level *l, struct err *e)
{
	if (img->drv->read_only && image_writable(img))
		return err_set(e, ERR_UNSUPPORTED, EROFS, "Image is read-only");
	if (img->snapshot && !img->drv->snapshots)
		return err_unsupported(e,
		    "%s: %s images have no internal snapshots", img->name,
		    img->drv->info.name);
	if (open_lock(img->file, e) || generic_options(o, img, e) ||
	    img->drv->open(img, o, e))
		return -1;
	img->opened = true;
	img->has_backing = img->backing_name;
	if (open_backing(img, o, l, e) || check_unused(o, img, e) ||
	    (img->drv->start && img->drv->start(img, e)))
		return -1;
	if (!image_writable(img) || (img->flags & IMG_O_CHECK))
		return 0;
	return bitmaps_start(img, e);
}

/* Takes over the reference to f, also on failure. */
static struct image *open_layer(
    struct hostfile *f, struct options *o, const struct level *l, struct err *e)
{
	const struct driver *drv;
	struct image *img;
	bool probed;

	drv = choose_driver(f, l->how->format, &probed, e);
	img = drv ? image_new(f, drv, l->how, e) : NULL;
	if (!img) {
		host_put(f);
		return NULL;
	}
	img->probed = probed;
	if (!start_layer(img, o, l, e))
		return img;
	image_destroy(img);
	return NULL;
}

/* ---- entry points ------------------------------------------------------- */

static struct options *given_options(const struct img_open *how, struct err *e)
{
	return how->options ? options_copy(how->options, e) : options_new(e);
}

static struct image *open_path(const char *name, const struct level *above,
    const struct img_open *how, struct err *e)
{
	CLEANUP(options) struct options *o = given_options(how, e);
	struct level l = {
	    .how = how, .above = above, .depth = above ? above->depth + 1 : 0};
	struct hostfile *f = NULL;
	struct image *img = NULL;

	/* A wrong format is said of a file that is not there too. */
	if (o && (!how->format || find_driver(how->format, e)))
		f = open_storage(name, open_host_flags(how), e);
	if (f) {
		l.path = f->name;
		img = open_layer(f, o, &l, e);
	}
	/* What was said of the storage of a file below begins with that. */
	if (!img && (f || !above))
		err_prefix(e, "Could not open '%s': ", name);
	return img;
}

static struct image *open_named(const char *name, const struct level *above,
    const struct img_open *how, struct err *e)
{
	CLEANUP(options) struct options *o = NULL;
	struct img_open by_options = *how;
	struct image *img = NULL;

	if (strncmp(name, "json:", 5))
		return open_path(name, above, how, e);
	o = options_new(e);
	if (o && !options_parse_json(o, name + 5, e) &&
	    (!how->format || options_has(o, "driver") ||
		!options_set(o, "driver", how->format, e))) {
		by_options.format = NULL;
		img = open_tree(o, above, &by_options, e);
	}
	if (!img)
		err_prefix(e, "Could not open '%s': ", name);
	return img;
}

/* Options of the format level that change how the file is opened. */
static int tree_flags(struct options *o, struct img_open *how, struct err *e)
{
	bool yes;

	if (options_bool(o, "read-only", &yes, e) == 1 && yes)
		how->flags &= ~IMG_O_RDWR;
	if (options_bool(o, "force-share", &yes, e) == 1 && yes)
		how->flags |= IMG_O_FORCE_SHARE;
	if (options_bool(o, "cache.direct", &yes, e) == 1 && yes)
		how->cache = IMG_CACHE_NONE;
	if (options_bool(o, "cache.no-flush", &yes, e) == 1 && yes)
		how->cache = IMG_CACHE_UNSAFE;
	if ((how->flags & IMG_O_FORCE_SHARE) && (how->flags & IMG_O_RDWR))
		return err_usage(
		    e, "force-share=on can only be used with read-only images");
	return err_is_set(e) ? -1 : 0;
}

/* An image in place of a file: whatever the one above is opened for, it reads
 * all of what is in there. */
static struct hostfile *file_in_image(
    struct options *o, const struct level *l, struct err *e)
{
	struct img_open how = *l->how;
	struct image *img;

	how.flags &= IMG_O_RDWR | IMG_O_FORCE_SHARE;
	how.flags |= IMG_O_DISCARD;
	if (how.gate == IMG_GATE_METADATA)
		how.gate = IMG_GATE_ALLOW;
	how.format = how.snapshot = NULL;
	how.options = NULL;
	how.writable_depth = 0;
	img = open_tree(o, l, &how, e);
	return img ? image_as_file(img, e) : NULL;
}

static struct hostfile *open_file_node(
    struct options *o, const struct level *l, struct err *e)
{
	const char *driver = options_get(o, "driver");

	if (driver && !storage_is_driver(driver) && registry_find(driver))
		return file_in_image(o, l, e);
	return open_file_options(o, open_host_flags(l->how), e);
}

/*
 * The file node: `file.*`, or the whole tree where the driver named is a
 * protocol or only a file name is given.
 */
static struct hostfile *tree_file(
    struct options *o, const struct level *l, struct err *e)
{
	const char *driver = l->how->format;
	const char *node = options_get(o, "file");
	CLEANUP(options) struct options *sub = NULL;

	if (driver && storage_is_driver(driver))
		return open_file_options(o, open_host_flags(l->how), e);
	if (node) {
		err_usage(e, "Cannot find device='%s' nor node-name='%s'", node,
		    node);
		return NULL;
	}
	sub = options_sub(o, "file", e);
	if (!sub)
		return NULL;
	if (options_empty(sub) && options_get(o, "filename") &&
	    options_set(sub, "filename", options_get(o, "filename"), e))
		return NULL;
	if (options_empty(sub)) {
		err_usage(e, "A block device must be specified for \"file\"");
		return NULL;
	}
	return open_file_node(sub, l, e);
}

static struct image *open_tree(struct options *o, const struct level *above,
    const struct img_open *how, struct err *e)
{
	struct img_open mine = *how;
	struct level l = {.how = &mine,
	    .above = above,
	    .depth = above ? above->depth + 1 : 0};
	struct hostfile *f;
	struct image *img;

	if (tree_flags(o, &mine, e))
		return NULL;
	mine.format = options_get(o, "driver");
	f = tree_file(o, &l, e);
	if (!f)
		return NULL;
	l.path = f->name;
	img = open_layer(f, o, &l, e);
	if (img)
		img->tree_name = tree_name(o, img->drv->info.name);
	return img;
}

struct image *open_named_file(
    const char *name, const struct img_open *how, struct err *e)
{
	static const struct level nothing;

	return open_named(name, &nothing, how, e);
}

struct image *img_open(
    const char *name, const struct img_open *how, struct err *e)
{
	if ((how->flags & IMG_O_FORCE_SHARE) && (how->flags & IMG_O_RDWR)) {
		err_usage(e,
		    "Could not open '%s': force-share=on can only be used with "
		    "read-only images",
		    name);
		return NULL;
	}
	return open_named(name, NULL, how, e);
}

struct image *img_open_options(
    struct options *o, const struct img_open *how, struct err *e)
{
	return open_tree(o, NULL, how, e);
}

struct image *img_open_host(
    struct hostfile *f, const struct img_open *how, struct err *e)
{
	CLEANUP(options) struct options *o = given_options(how, e);
	struct level l = {.how = how, .path = f->name};

	if (!o) {
		host_put(f);
		return NULL;
	}
	return open_layer(f, o, &l, e);
}

struct image *open_parent(
    const char *above, const char *name, const char *format, struct err *e)
{
	const struct img_open how = {
	    .format = format, .flags = IMG_O_NO_BACKING | IMG_O_FORCE_SHARE};
	CLEANUP_FREE char *full = image_resolve(above, name, e);

	if (!full || !open_plain_path(full, e))
		return NULL;
	return open_named_file(full, &how, e);
}
