/* SPDX-License-Identifier: BSD-3-Clause */
/* create: make an image. */
#include <stdio.h>

#include "createopts.h"
#include "msg.h"
#include "newimage.h"
#include "out.h"
#include "source.h"

struct create_args {
	struct common c;
	const char *backing, *backing_fmt;
	const char **options;
	bool unchecked;
};

static int check_size(const struct create_args *a, struct err *e)
{
	uint64_t size;

	return a->c.operands_n < 2 ? 0
				   : parse_size(a->c.operands[1], "image size",
					 0, INT64_MAX, &size, e);
}

static int set_size(
    const struct create_args *a, struct options *o, struct err *e)
{
	if (a->c.operands_n < 2)
		return 0;
	if (options_has(o, "size"))
		return err_usage(
		    e, "The image size must be specified only once");
	return options_set(o, "size", a->c.operands[1], e);
}

/* It is of no use here, and no image remembers it. */
static int refuse_level(const struct options *o, struct err *e)
{
	return options_has(o, "compression_level")
		   ? err_usage(e,
			 "compression_level is for convert -c: an image does "
			 "not record it")
		   : 0;
}

/* -b and -F: the same as options of the format, where it has those. */
static int add_backing(const struct create_args *a,
    const struct img_format *fmt, struct options *o, struct err *e)
{
	if (a->backing && !fmt->can_backing)
		return err_usage(e,
		    "Backing file not supported for file format '%s'",
		    fmt->name);
	if (a->backing_fmt && !fmt->can_backing)
		return err_usage(e,
		    "Backing file format not supported for file format '%s'",
		    fmt->name);
	return createopts_add(o, NULL, a->backing, a->backing_fmt, e);
}

/* Said before anything is made. */
static int announce(const char *name, const struct img_format *fmt,
    struct options *o, struct err *e)
{
	struct out out;
	int rc;

	if (out_begin(&out))
		return -1;
	fprintf(out.f, "Formatting '%s', fmt=%s", name, fmt->name);
	rc = createopts_print(out.f, fmt, o, e);
	fputc('\n', out.f);
	return out_end(&out, rc) ? -1 : 0;
}

static int make(const char *name, const char *format, struct options *o,
    unsigned flags, struct err *e)
{
	struct target t;

	if (newimage_target(&t, name, format, o, e))
		return -1;
	if (!img_create_as(target_path(&t), name, format, o, flags, e))
		return target_commit(&t, true, e);
	target_name_in(&t, e);
	target_abandon(&t);
	return -1;
}

static int create(const struct create_args *a, struct options *o, struct err *e)
{
	const char *name = a->c.operands[0];
	const struct img_format *fmt = createopts_format(a->c.format, e);
	unsigned flags = a->unchecked ? IMG_CREATE_UNCHECKED : 0;

	if (!fmt || img_create_check(fmt->name, o, e) || set_size(a, o, e) ||
	    add_backing(a, fmt, o, e) ||
	    img_create_prepare(name, fmt->name, o, flags, e) ||
	    refuse_level(o, e))
		return -1;
	if (!a->c.quiet && announce(name, fmt, o, e))
		return -1;
	return make(name, fmt->name, o, flags, e);
}

static int help(const struct create_args *a)
{
	return createopts_help(
	    a->c.format, a->c.operands_n ? a->c.operands[0] : NULL);
}

static int create_run(void *args)
{
	struct create_args *a = args;
	struct err e = ERR_INIT;
	CLEANUP(options) struct options *o = options_new(&e);

	if (!a->c.format)
		a->c.format = "raw";
	if (!o || createopts_add(o, a->options, NULL, NULL, &e))
		return msg_err(&e);
	if (createopts_help_wanted(o))
		return help(a);
	if (!a->c.operands_n)
		return msg_usage("Expecting image file name");
	if (a->c.operands_n > 2)
		return msg_usage("Unexpected argument: %s", a->c.operands[2]);
	if (check_size(a, &e))
		return msg_err(&e);
	if (!create(a, o, &e))
		return EXIT_SUCCESS;
	if (!err_is_set(&e))
		return EXIT_FAILURE;
	err_prefix(&e, "%s: ", a->c.operands[0]);
	return msg_err(&e);
}

static const struct opt opts[] = {
    OPT_OBJECT,
    OPT_QUIET,
    {'f', NULL, "fmt", "format of the image (default: raw)", COMMON(format)},
    {'b', NULL, "backing_file",
	"what the image does not have itself is read from this one; its "
	"name is relative to the image",
	offsetof(struct create_args, backing)},
    {'F', NULL, "backing_fmt", "format of the backing file; -b needs it",
	offsetof(struct create_args, backing_fmt)},
    {'u', NULL, NULL, "do not look whether the backing file can be opened",
	offsetof(struct create_args, unchecked)},
    {'o', NULL, "options", "options of the format; `-o help` lists them",
	offsetof(struct create_args, options), true},
    {0},
};

const struct command cmd_create = {
    .name = "create",
    .operands = "filename [size]",
    .summary = "Make an image.",
    .notes =
	"The size may be left out when there is a backing file.  A file that\n"
	"stands there already is replaced when the new one is complete.\n",
    .opts = opts,
    .args_len = sizeof(struct create_args),
    .run = create_run,
};
