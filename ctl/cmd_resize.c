/* SPDX-License-Identifier: BSD-3-Clause */
/* resize: give an image another size. */
#include <stdio.h>

#include "msg.h"
#include "out.h"
#include "progress.h"
#include "source.h"

struct resize_args {
	struct common c;
	const char *prealloc;
	bool shrink;
};

/* The size operand: `sign` is '+', '-', or 0 for the size itself. */
struct change {
	char sign;
	uint64_t bytes;
};

static int read_change(const char *text, struct change *ch, struct err *e)
{
	CLEANUP(options) struct options *o = options_new(e);

	ch->sign = 0;
	if (*text == '+' || *text == '-')
		ch->sign = *text++;
	if (!o || options_set(o, "size", text, e))
		return -1;
	return options_size(o, "size", &ch->bytes, e) < 0 ? -1 : 0;
}

static int new_size(
    uint64_t size, const struct change *ch, uint64_t *out, struct err *e)
{
	bool ok = true;

	*out = ch->bytes;
	if (ch->sign == '+')
		ok = !__builtin_add_overflow(size, ch->bytes, out);
	else if (ch->sign == '-')
		ok = !__builtin_sub_overflow(size, ch->bytes, out);
	if (!ok || !*out)
		return err_usage(e, "New image size must be positive");
	return 0;
}

/* Data is thrown away only when that was asked for. */
static bool may_shrink(const struct resize_args *a)
{
	if (a->shrink)
		return true;
	msg_error("Use the --shrink option to perform a shrink operation.");
	msg_warning("Shrinking an image will delete all data beyond the "
		    "shrunken image's end. Before performing such an "
		    "operation, make sure there is no important data there.");
	return false;
}

static int resize(const struct resize_args *a, const struct change *ch,
    enum img_prealloc prealloc, struct err *e)
{
	CLEANUP(image) struct image *img = NULL;
	struct source s = source_operand(&a->c, a->c.operands[0]);
	struct progress p;
	uint64_t size;

	s.how.flags |= IMG_O_RDWR;
	img = source_open(&s, e);
	if (!img)
		return -1;
	source_warn_probed(img, s.name);
	if (new_size(img_size(img), ch, &size, e))
		return -1;
	if (size <= img_size(img) && prealloc != IMG_PREALLOC_OFF)
		return err_usage(
		    e, "Preallocation can only be used for growing images");
	if (size < img_size(img) && !may_shrink(a))
		return EXIT_FAILURE;
	img_set_progress(img, progress_begin(&p, &a->c, 1));
	if (img_resize(img, size, prealloc, e))
		return -1;
	return img_close(take(img), e);
}

static int resize_run(void *args)
{
	struct resize_args *a = args;
	enum img_prealloc prealloc = IMG_PREALLOC_OFF;
	struct err e = ERR_INIT;
	struct change ch;
	int rc;

	if (a->c.operands_n < 2)
		return msg_usage("Not enough arguments");
	if (a->c.operands_n != 2)
		return msg_usage("Expecting image file name and size");
	if (a->prealloc && !img_prealloc_parse(a->prealloc, &prealloc))
		return msg_error(
		    "Invalid preallocation mode '%s'", a->prealloc);
	if (read_change(a->c.operands[1], &ch, &e))
		return msg_err(&e);
	if (!source_opts_valid(&a->c))
		return EXIT_FAILURE;
	rc = resize(a, &ch, prealloc, &e);
	if (rc)
		return rc < 0 ? msg_err(&e) : rc;
	if (!a->c.quiet)
		printf("Image resized.\n");
	return out_flush();
}

static const struct opt opts[] = {
    OPT_OBJECT,
    OPT_IMAGE_OPTS,
    OPT_FORMAT(NULL),
    {0, "preallocation", "mode",
	"how new space is allocated: off, metadata, falloc or full",
	offsetof(struct resize_args, prealloc)},
    OPT_QUIET,
    {0, "shrink", NULL, "the image may become smaller: data is thrown away",
	offsetof(struct resize_args, shrink)},
    {0},
};

const struct command cmd_resize = {
    .name = "resize",
    .operands = "filename [+|-]size",
    .summary = "Give an image another size.",
    .notes = "With + or - the size is relative to what it is.\n",
    .opts = opts,
    .args_len = sizeof(struct resize_args),
    .signed_operand = true,
    .run = resize_run,
};
