/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * bitmap: change one dirty bitmap of an image.
 *
 * The actions are done one after the other, in the order in which they were
 * given; each is on disk before the next one begins.
 */
#include <stdlib.h>
#include <string.h>

#include "msg.h"
#include "source.h"

struct bitmap_args {
	struct common c;
	const char **actions; /* pairs: name and value */
	const char *granularity;
	const char *src_file, *src_format;
};

/* What the actions work on. */
struct work {
	struct image *img, *src;
	const char *bitmap;
	uint64_t granularity; /* 0: the default */
};

static int act(
    const struct work *w, const char *action, const char *value, struct err *e)
{
	if (!strcmp(action, "add"))
		return img_bitmap_add(
		    w->img, w->bitmap, w->granularity, true, e);
	if (!strcmp(action, "remove"))
		return img_bitmap_remove(w->img, w->bitmap, e);
	if (!strcmp(action, "clear"))
		return img_bitmap_clear(w->img, w->bitmap, e);
	if (!strcmp(action, "merge"))
		return img_bitmap_merge(w->img, w->bitmap, w->src, value, e);
	return img_bitmap_enable(
	    w->img, w->bitmap, !strcmp(action, "enable"), e);
}

static bool asks_for(const struct bitmap_args *a, const char *name)
{
	for (const char **p = a->actions; p && *p; p += 2)
		if (!strcmp(*p, name))
			return true;
	return false;
}

static int act_all(const struct bitmap_args *a, const struct work *w)
{
	for (const char **p = a->actions; *p; p += 2) {
		struct err e = ERR_INIT;

		if (!act(w, p[0], p[1], &e))
			continue;
		err_prefix(
		    &e, "Operation %s on bitmap %s failed: ", p[0], w->bitmap);
		return msg_err(&e);
	}
	return EXIT_SUCCESS;
}

static bool args_valid(const struct bitmap_args *a)
{
	const char *fault = NULL;

	if (!a->actions)
		fault = "Need at least one of --add, --remove, --clear, "
			"--enable, --disable, or --merge";
	else if (a->c.operands_n != 2)
		fault = "Expecting filename and bitmap name";
	else if (a->granularity && !asks_for(a, "add"))
		fault = "granularity only supported with --add";
	else if (a->src_format && !a->src_file)
		fault = "-F only supported with -b";
	else if (a->src_file && !asks_for(a, "merge"))
		fault = "Merge bitmap source file only supported with "
			"--merge";
	if (fault)
		msg_error("%s", fault);
	return !fault && source_opts_valid(&a->c);
}

/* The bitmap's file and, where that is another one, the one to merge from. */
static int open_both(const struct bitmap_args *a, struct work *w, struct err *e)
{
	struct source s = source_operand(&a->c, a->c.operands[0]);
	struct source from = {.name = a->src_file,
	    .how = {.format = a->src_format, .flags = IMG_O_NO_BACKING}};

	s.how.flags |= IMG_O_RDWR | IMG_O_NO_BACKING;
	w->img = w->src = source_open(&s, e);
	if (!w->img || !a->src_file)
		return w->img ? 0 : -1;
	w->src = source_open(&from, e);
	return w->src ? 0 : -1;
}

static int bitmap_run(void *args)
{
	struct bitmap_args *a = args;
	struct work w = {0};
	struct err e = ERR_INIT;
	int status;

	if (a->granularity && parse_size(a->granularity, "granularity", 0,
				  INT64_MAX, &w.granularity, &e))
		return msg_err(&e);
	if (!args_valid(a))
		return EXIT_FAILURE;
	w.bitmap = a->c.operands[1];
	status = open_both(a, &w, &e) ? msg_err(&e) : act_all(a, &w);
	if (w.src != w.img)
		img_drop(w.src);
	if (w.img && img_close(w.img, &e) && !status)
		status = msg_err(&e);
	return status;
}

#define ACTION(name, arg, help)                                                \
	{                                                                      \
		0, name, arg, help, offsetof(struct bitmap_args, actions),     \
		    true, true                                                 \
	}

static const struct opt opts[] = {
    OPT_OBJECT,
    OPT_IMAGE_OPTS,
    OPT_FORMAT(NULL),
    ACTION("add", NULL, "make it: enabled, unless --disable follows"),
    ACTION("remove", NULL, "delete it"),
    ACTION("clear", NULL, "nothing is dirty any more"),
    ACTION("enable", NULL, "record writes from now on"),
    ACTION("disable", NULL, "record no more writes"),
    ACTION("merge", "bitmap",
	"what is dirty in another bitmap becomes dirty in this one"),
    {'b', "source-file", "file",
	"where the bitmap to merge is, if in another image",
	offsetof(struct bitmap_args, src_file)},
    {'F', "source-format", "fmt", "format of that image",
	offsetof(struct bitmap_args, src_format)},
    {'g', "granularity", "size",
	"bytes that a bit of a new bitmap stands for: a power of two from\n"
	"512 to 2G",
	offsetof(struct bitmap_args, granularity)},
    {0},
};

const struct command cmd_bitmap = {
    .name = "bitmap",
    .operands = "filename bitmap",
    .summary = "Change a dirty bitmap, which records what was written.",
    .notes = "The actions are done in the order in which they are given.\n",
    .opts = opts,
    .args_len = sizeof(struct bitmap_args),
    .run = bitmap_run,
};
