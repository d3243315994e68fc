/* SPDX-License-Identifier: BSD-3-Clause */
/* convert: what the target is to be, and what goes with it. See convert.h. */
#include <limits.h>
#include <string.h>

#include "convert.h"
#include "createopts.h"

static int choose_format(struct convert *x, struct err *e)
{
	const char *name = x->a->target_format ? x->a->target_format : "raw";

	if (x->a->target_opts)
		return 0;
	if (!x->a->existing) {
		x->format = createopts_format(name, e);
		return x->format ? 0 : -1;
	}
	x->format = img_format_find(name);
	return x->format ? 0 : err_usage(e, "Unknown file format '%s'", name);
}

/* -B and -F are further options of a new target; they say the same as -o. */
static int add_backing(struct convert *x, struct err *e)
{
	const struct img_format *f = x->format;

	if (x->a->backing && !f->can_backing)
		return err_usage(e,
		    "Backing file not supported for file format '%s'", f->name);
	if (x->a->backing_fmt && !f->can_backing)
		return err_usage(e,
		    "Backing file format not supported for file format '%s'",
		    f->name);
	if (createopts_add(
		x->options, NULL, x->a->backing, x->a->backing_fmt, e))
		return -1;
	if (options_has(x->options, "backing_file") &&
	    !options_has(x->options, "backing_fmt"))
		return err_usage(
		    e, "Use of backing file requires explicit backing format");
	return 0;
}

static int check_backing(const struct convert *x, struct err *e)
{
	if (x->copy.backing && x->a->target_zero)
		return err_usage(e,
		    "Cannot use --target-is-zero when the destination image "
		    "has a backing file");
	return 0;
}

static int check_compression(const struct convert *x, struct err *e)
{
	const char *prealloc = options_get(x->options, "preallocation");

	if (!x->a->compress)
		return 0;
	if (!x->format->can_pack)
		return err_usage(
		    e, "Compression not supported for this file format");
	if (prealloc && strcmp(prealloc, "off"))
		return err_usage(e,
		    "Compression and preallocation not supported at the same "
		    "time");
	if (options_get(x->options, "data_file"))
		return err_usage(e,
		    "Compression and an external data file not supported at "
		    "the same time");
	return 0;
}

/* Whether the codec has that level is seen before the target is made. */
static int read_level(struct convert *x, struct err *e)
{
	uint64_t level = 0;

	if (options_u64(x->options, "compression_level", &level, e) < 0)
		return -1;
	if (options_has(x->options, "compression_level") && !x->a->compress)
		return err_usage(e, "compression_level needs -c");
	x->copy.level = level < INT_MAX ? (int)level : INT_MAX;
	return 0;
}

/* Not where space is wanted that is the target's own, or zeroes are to be
 * found; what exists keeps its space. */
static bool may_share(const struct convert *x)
{
	const char *prealloc = options_get(x->options, "preallocation");

	return !x->a->existing && !x->a->sparse && !x->a->compress &&
	       !x->a->salvage &&
	       (!prealloc || !strcmp(prealloc, "off") ||
		   !strcmp(prealloc, "metadata"));
}

int convert_check_sources(const struct convert *x, struct err *e)
{
	bool backing = x->a->backing || options_has(x->options, "backing_file");

	if (x->copy.src_n > 1 && backing)
		return err_usage(e,
		    "Having a backing file for the target makes no sense when "
		    "concatenating multiple input images");
	if (x->copy.src_n > 1 && x->a->snapshot)
		return err_usage(
		    e, "No support for concatenating multiple snapshot");
	if (x->copy.src_n > 1 && x->a->bitmaps)
		return err_usage(
		    e, "Copying bitmaps only possible with single source");
	return 0;
}

int convert_read_target(struct convert *x, struct err *e)
{
	const struct img_format *f;

	if (choose_format(x, e))
		return -1;
	f = x->format;
	if (!x->a->existing &&
	    (img_create_check(f->name, x->options, e) || add_backing(x, e)))
		return -1;
	x->copy.backing =
	    x->a->backing || options_has(x->options, "backing_file");
	if (check_backing(x, e) || (f && check_compression(x, e)) ||
	    read_level(x, e))
		return -1;
	if (f && x->a->bitmaps && !f->has_bitmaps)
		return err_usage(
		    e, "Format driver '%s' does not support bitmaps", f->name);
	if (may_share(x))
		x->copy.flags |= IMG_COPY_SHARE;
	return 0;
}
