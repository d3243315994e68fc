/* SPDX-License-Identifier: BSD-3-Clause */
/* Opening what is served: see exports.h. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/units.h"

#include "authz.h"
#include "exports.h"
#include "folder.h"
#include "log.h"
#include "scratch.h"
#include "stats.h"

#define BITMAP_PREFIX	"qemu:dirty-bitmap:"
#define BITMAP_NAME_MAX 1023u

/* ---- the image --------------------------------------------------------- */

static void warn_probed_raw(const char *file)
{
	CLEANUP_FREE char *text = img_probed_raw_warning(file);

	if (text)
		log_warning(text);
}

static struct image *open_named(
    const struct export_spec *spec, const struct img_open *how, struct err *e)
{
	CLEANUP(options) struct options *o = NULL;

	if (!spec->image_opts)
		return img_open(spec->file, how, e);
	o = options_new(e);
	if (!o || options_parse(o, spec->file, "driver", e))
		return NULL;
	return img_open_options(o, how, e);
}

static struct image *open_scratch(const struct export_spec *spec, struct err *e)
{
	struct img_open how = spec->open;
	CLEANUP(image) struct image *below = NULL;

	how.flags &= ~IMG_O_RDWR;
	below = open_named(spec, &how, e);
	return below ? scratch_open(spec, below, e) : NULL;
}

/* qemu-nbd does not say twice what it could not open. */
static void say_once(const char *file, struct err *e)
{
	static const char said[] = "Could not open '";
	size_t n = sizeof said - 1, len = strlen(file);
	char *rest;

	if (strncmp(e->msg, said, n) || strncmp(e->msg + n, file, len) ||
	    strncmp(e->msg + n + len, "': ", 3))
		return;
	rest = e->msg + n + len + 3;
	memmove(e->msg, rest, strlen(rest) + 1);
}

/* The reference's rule; a list of options may have a cache of its own. */
static bool may_be_native(const struct export_spec *spec)
{
	return !spec->native_aio || spec->image_opts ||
	       spec->open.cache == IMG_CACHE_NONE ||
	       spec->open.cache == IMG_CACHE_DIRECTSYNC;
}

static struct image *open_as_said(const struct export_spec *spec, struct err *e)
{
	if (!may_be_native(spec)) {
		err_usage(e, "aio=native was specified, but it requires "
			     "cache.direct=on, which was not specified.");
		return NULL;
	}
	if (spec->scratch && (spec->open.flags & IMG_O_RDWR))
		return open_scratch(spec, e);
	return open_named(spec, &spec->open, e);
}

static struct image *open_image(const struct export_spec *spec, struct err *e)
{
	struct image *img = open_as_said(spec, e);

	if (!img) {
		say_once(spec->file, e);
		err_prefix(e, "Failed to blk_new_open '%s': ", spec->file);
		return NULL;
	}
	if (img_probed_raw(img) && img_writable(img) && !spec->quiet)
		warn_probed_raw(spec->file);
	return img;
}

static int set_range(
    struct export *x, const struct export_spec *spec, struct err *e)
{
	uint64_t size = img_size(x->img);

	if (spec->offset > size)
		return err_usage(e,
		    "Offset (%llu) cannot be greater than size of the "
		    "containing file (%llu)",
		    (unsigned long long)spec->offset, (unsigned long long)size);
	x->start = spec->offset;
	x->size = size - spec->offset;
	return 0;
}

/* ---- bitmaps ----------------------------------------------------------- */

/* 1 it has this bitmap, and it is fit to be seen; 0 it has none; -1 */
static int has_bitmap(struct image *img, const char *name, struct err *e)
{
	struct img_bitmap *list;
	int rc = 0;
	size_t n;

	if (img_bitmaps(img, &list, &n, e))
		return -1;
	for (size_t i = 0; i < n && !rc; i++) {
		if (strcmp(list[i].name, name))
			continue;
		rc = 1;
		if (list[i].inconsistent)
			rc = err_usage(e,
			    "Bitmap '%s' is inconsistent and cannot be used",
			    name);
	}
	img_bitmaps_free(list, n);
	return rc;
}

/* The topmost layer that has it. */
static struct image *find_bitmap(
    struct image *img, const char *name, struct err *e)
{
	for (; img; img = img_backing(img)) {
		int rc = has_bitmap(img, name, e);

		if (rc)
			return rc < 0 ? NULL : img;
	}
	err_usage(e, "Bitmap '%s' is not found", name);
	return NULL;
}

static int add_bitmap(struct export *x, const char *name, struct err *e)
{
	struct export_bitmap *b = &x->bitmap[x->bitmap_n];
	char *context;

	for (unsigned i = 0; i < x->bitmap_n; i++)
		if (!strcmp(x->bitmap[i].name, name))
			return err_usage(e, "Bitmap '%s' is given twice", name);
	b->img = find_bitmap(x->img, name, e);
	if (!b->img)
		return -1;
	if (strlen(name) > BITMAP_NAME_MAX)
		return err_usage(e, "Bitmap name '%s' is too long", name);
	if (asprintf(&context, BITMAP_PREFIX "%s", name) < 0)
		return err_nomem(e);
	b->name = name;
	b->context = context;
	x->bitmap_n++;
	return 0;
}

static int add_bitmaps(
    struct export *x, const struct export_spec *spec, struct err *e)
{
	if (spec->bitmap_n > EXPORT_BITMAPS_MAX)
		return err_usage(e, "%u bitmaps for one export: at most %u",
		    spec->bitmap_n, EXPORT_BITMAPS_MAX);
	x->bitmap = calloc(spec->bitmap_n + 1, sizeof *x->bitmap);
	if (!x->bitmap)
		return err_nomem(e);
	for (unsigned i = 0; i < spec->bitmap_n; i++)
		if (add_bitmap(x, spec->bitmap[i], e))
			return -1;
	return 0;
}

/* ---- exports ----------------------------------------------------------- */

bool export_parse_discard(const char *mode, unsigned *flags)
{
	if (!strcmp(mode, "unmap") || !strcmp(mode, "on"))
		*flags |= IMG_O_DISCARD;
	else if (!strcmp(mode, "ignore") || !strcmp(mode, "off"))
		*flags &= ~IMG_O_DISCARD;
	else
		return false;
	return true;
}

bool export_parse_backing(const char *mode, enum img_gate *gate)
{
	*gate = strcmp(mode, "deny") ? IMG_GATE_ALLOW : IMG_GATE_DENY;
	return !strcmp(mode, "deny") || !strcmp(mode, "allow");
}

bool export_parse_detect_zeroes(const char *mode, enum detect_zeroes *out)
{
	static const char *const names[] = {"off", "on", "unmap"};

	for (unsigned i = 0; i < ARRAY_N(names); i++)
		if (!strcmp(mode, names[i])) {
			*out = (enum detect_zeroes)i;
			return true;
		}
	return false;
}

const char *export_detect_zeroes_wrong(const struct export_spec *spec)
{
	if (spec->detect_zeroes != DETECT_ZEROES_UNMAP ||
	    (spec->open.flags & IMG_O_DISCARD))
		return NULL;
	return "setting detect-zeroes to unmap is not allowed without setting "
	       "discard operation to unmap";
}

static int set_authz(struct export *x, const char *id, struct err *e)
{
	x->authz = id ? authz_new(id, e) : NULL;
	return id && !x->authz ? -1 : 0;
}

int export_open(struct export *x, const struct export_spec *spec,
    bool multi_conn, struct err *e)
{
	*x = (struct export){
	    .name = spec->name,
	    .description = spec->description,
	    .multi_conn = multi_conn,
	    .depth = spec->open.flags & IMG_O_DEPTH,
	    .detect_zeroes = spec->detect_zeroes,
	    .img = open_image(spec, e),
	};
	if (!x->img)
		return -1;
	return set_range(x, spec, e) || add_bitmaps(x, spec, e) ||
		       set_authz(x, spec->authz, e)
		   ? -1
		   : 0;
}

int export_close(struct export *x, struct err *e)
{
	for (unsigned i = 0; i < x->bitmap_n; i++)
		free((char *)x->bitmap[i].context);
	free(x->bitmap);
	authz_free(x->authz);
	return x->img ? img_close(x->img, e) : 0;
}

int exports_add(struct exports *x, const struct export_spec *spec,
    bool multi_conn, struct err *e)
{
	struct export *item = reallocarray(x->item, x->n + 1, sizeof *item);
	int rc;

	if (!item)
		return err_nomem(e);
	x->item = item;
	item += x->n++;
	rc = export_open(item, spec, multi_conn, e);
	item->stats = calloc(1, sizeof *item->stats);
	return rc || item->stats ? rc : err_nomem(e);
}

int exports_add_folder(struct exports *x, const char *dir,
    const struct export_spec *base, bool multi_conn, struct err *e)
{
	x->folder = folder_new(dir, base, multi_conn, e);
	return x->folder ? 0 : -1;
}

int exports_close(struct exports *x, struct err *e)
{
	int rc = x->folder ? folder_free(x->folder, e) : 0;

	for (size_t i = 0; i < x->n; i++) {
		rc |= export_close(&x->item[i], e);
		free(x->item[i].stats);
	}
	free(x->item);
	*x = (struct exports){0};
	return rc;
}
