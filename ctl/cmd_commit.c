/* SPDX-License-Identifier: BSD-3-Clause */
/* commit: merge an image into one below it. */
#include <stdio.h>

#include "msg.h"
#include "out.h"
#include "progress.h"
#include "source.h"

struct commit_args {
	struct common c;
	const char *base, *rate;
	bool keep;
	uint64_t rate_len; /* bytes a second; 0: no limit */
};

/* How far below the top the base is; 0 after an error. */
static unsigned find_base(
    const struct source *s, const char *base, struct err *e)
{
	CLEANUP(image) struct image *img = NULL;
	unsigned depth = 1;

	if (!base)
		return depth;
	img = source_open(s, e);
	if (!img)
		return 0;
	depth = img_find_below(img, base);
	if (!depth)
		err_usage(e, "Did not find '%s' in the backing chain of '%s'",
		    base, s->name);
	return depth;
}

static int merge(const struct commit_args *a, struct image *top, unsigned depth,
    struct err *e)
{
	struct img_merge job = {.top = top, .base = top, .keep = a->keep};
	struct progress p;
	int rc;

	for (; job.base && depth; depth--)
		job.base = img_backing(job.base);
	if (!job.base)
		return err_usage(e, "Image does not have a backing file");
	job.rate = a->rate_len;
	job.progress = progress_begin(&p, &a->c, 1);
	rc = img_merge(&job, e);
	if (!rc)
		progress_full(&p);
	progress_end(&p);
	return rc;
}

static int commit(const struct commit_args *a, struct err *e)
{
	struct source s = source_operand(&a->c, a->c.operands[0]);
	CLEANUP(image) struct image *top = NULL;

	if (!source_cache(a->c.cache, "cache", &s.how.cache))
		return EXIT_FAILURE;
	s.how.writable_depth = find_base(&s, a->base, e);
	if (!s.how.writable_depth)
		return -1;
	/* What is not right above the base is not changed. */
	s.how.flags |= IMG_O_DISCARD | (a->base ? 0 : IMG_O_RDWR);
	top = source_open(&s, e);
	if (!top || merge(a, top, s.how.writable_depth, e))
		return -1;
	return img_close(take(top), e);
}

static int commit_run(void *args)
{
	struct commit_args *a = args;
	struct err e = ERR_INIT;
	int rc;

	if (a->rate &&
	    parse_size(a->rate, "rate limit", 0, INT64_MAX, &a->rate_len, &e))
		return msg_err(&e);
	if (!source_one_operand(&a->c) || !source_opts_valid(&a->c))
		return EXIT_FAILURE;
	/* The top is no overlay of a base further down. */
	a->keep |= a->base != NULL;
	rc = commit(a, &e);
	if (rc)
		return rc < 0 ? msg_err(&e) : rc;
	if (!a->c.quiet)
		printf("Image committed.\n");
	return out_flush();
}

static const struct opt opts[] = {
    OPT_OBJECT,
    OPT_IMAGE_OPTS,
    OPT_QUIET,
    OPT_FORMAT(NULL),
    OPT_CACHE("writeback"),
    {'b', NULL, "base",
	"the image to merge into: any one below, by its name; implies -d\n"
	"(default: the backing file)",
	offsetof(struct commit_args, base)},
    {'r', NULL, "rate_limit", "bytes a second at most",
	offsetof(struct commit_args, rate)},
    {'d', NULL, NULL, "do not empty the image afterwards",
	offsetof(struct commit_args, keep)},
    OPT_PROGRESS,
    {0},
};

const struct command cmd_commit = {
    .name = "commit",
    .operands = "filename",
    .summary = "Merge an image into one below it.",
    .notes =
	"What the image and those between it and the base have goes to the\n"
	"base, which grows if it is smaller.  With -b, the images between\n"
	"them are not valid any more.\n",
    .opts = opts,
    .args_len = sizeof(struct commit_args),
    .run = commit_run,
};
