/* SPDX-License-Identifier: BSD-3-Clause */
/* rebase: give an image another backing file. */
#include "msg.h"
#include "progress.h"
#include "source.h"

struct rebase_args {
	struct common c;
	const char *backing, *backing_fmt;
	bool unsafe, compress;
};

/* The new backing file; an empty name stands for none. */
static const char *name_of(const struct rebase_args *a)
{
	return a->backing && *a->backing ? a->backing : NULL;
}

/* Rename it only; nothing is looked at. */
static int rename_only(
    const struct rebase_args *a, struct image *img, struct err *e)
{
	const char *name = name_of(a);

	return img_set_backing(img, name, name ? a->backing_fmt : NULL, e);
}

static int copy_and_rename(const struct rebase_args *a, struct image *img,
    enum img_cache src_cache, struct img_progress progress, struct err *e)
{
	struct img_rebase job = {.img = img,
	    .name = name_of(a),
	    .how = {.cache = src_cache},
	    .pack = a->compress,
	    .progress = progress};

	if (job.name)
		job.format = a->backing_fmt;
	if (a->c.force_share)
		job.how.flags |= IMG_O_FORCE_SHARE;
	return img_rebase(&job, e);
}

static int rebase(const struct rebase_args *a, struct source *s,
    enum img_cache src_cache, struct err *e)
{
	CLEANUP(image) struct image *img = source_open(s, e);
	struct progress p;
	struct img_progress progress;
	int rc;

	if (!img)
		return -1;
	source_warn_probed(img, s->name);
	if (a->backing_fmt && !img_format_find(a->backing_fmt))
		return err_usage(
		    e, "Invalid format name: '%s'", a->backing_fmt);
	progress = progress_begin(&p, &a->c, 2);
	rc = a->unsafe ? rename_only(a, img, e)
		       : copy_and_rename(a, img, src_cache, progress, e);
	return progress_close(&p, &img, rc, e);
}

static int rebase_run(void *args)
{
	struct rebase_args *a = args;
	enum img_cache src_cache = IMG_CACHE_WRITEBACK;
	struct err e = ERR_INIT;
	struct source s;

	if (!source_one_operand(&a->c))
		return EXIT_FAILURE;
	if (!a->unsafe && !a->backing)
		return msg_usage("Must specify backing file (-b) or use unsafe "
				 "mode (-u)");
	if (!source_opts_valid(&a->c))
		return EXIT_FAILURE;
	s = source_operand(&a->c, a->c.operands[0]);
	if (!source_cache(a->c.cache, "cache", &s.how.cache) ||
	    !source_cache(a->c.src_cache, "source cache", &src_cache))
		return EXIT_FAILURE;
	/* To share is only for what is read. */
	s.how.flags = IMG_O_RDWR | (a->unsafe ? IMG_O_NO_BACKING : 0);
	return rebase(a, &s, src_cache, &e) ? msg_err(&e) : EXIT_SUCCESS;
}

static const struct opt opts[] = {
    OPT_OBJECT,
    OPT_IMAGE_OPTS,
    OPT_FORCE_SHARE,
    OPT_QUIET,
    OPT_FORMAT(NULL),
    OPT_CACHE("writeback"),
    OPT_SRC_CACHE,
    OPT_PROGRESS,
    {'u', NULL, NULL,
	"only write the name into the image: what it reads may change",
	offsetof(struct rebase_args, unsafe)},
    {'c', "compress", NULL, "compress what is copied into the image",
	offsetof(struct rebase_args, compress)},
    {'b', NULL, "backing_file",
	"the new backing file, as seen from the image; \"\" for none",
	offsetof(struct rebase_args, backing)},
    {'F', NULL, "backing_fmt", "its format; -b needs it",
	offsetof(struct rebase_args, backing_fmt)},
    {0},
};

const struct command cmd_rebase = {
    .name = "rebase",
    .operands = "filename",
    .summary = "Give an image another backing file.",
    .notes =
	"The image reads as before: what the new backing file does not have\n"
	"in the same place is copied into the image first.\n",
    .opts = opts,
    .args_len = sizeof(struct rebase_args),
    .run = rebase_run,
};
