/* SPDX-License-Identifier: BSD-3-Clause */
/* compare: do two images have the same content? */
#include <inttypes.h>
#include <stdio.h>

#include "msg.h"
#include "out.h"
#include "progress.h"
#include "source.h"

#define PROGRESS_STEP 2 /* percent */

enum status {
	STATUS_SAME = 0,
	STATUS_DIFFERENT = 1,
	STATUS_OPEN_FAILED = 2, /* or another error */
	STATUS_MAP_FAILED = 3,
	STATUS_READ_FAILED = 4,
};

struct compare_args {
	struct common c;
	const char *format2;
	bool strict;
};

static void print_verdict(const struct img_compare *job)
{
	if (job->size_differs && !job->strict)
		printf("Warning: Image size mismatch!\n");
	switch (job->result) {
	case IMG_SAME:
		printf("Images are identical.\n");
		break;
	case IMG_DIFFER_CONTENT:
		printf(
		    "Content mismatch at offset %" PRIu64 "!\n", job->offset);
		break;
	case IMG_DIFFER_SIZE:
		printf("Strict mode: Image size mismatch!\n");
		break;
	case IMG_DIFFER_STATUS:
		printf("Strict mode: Offset %" PRIu64
		       " block status mismatch!\n",
		    job->offset);
		break;
	}
}

static enum status compare(
    const struct compare_args *a, struct img_compare *job)
{
	struct err e = ERR_INIT;
	struct progress p;
	int rc;

	job->progress = progress_begin(&p, &a->c, PROGRESS_STEP);
	rc = img_compare(job, &e);
	if (!rc && job->result == IMG_SAME)
		progress_full(&p);
	if (!rc && !a->c.quiet)
		print_verdict(job);
	progress_end(&p);
	if (rc) {
		msg_err(&e);
		return job->read_failed ? STATUS_READ_FAILED
					: STATUS_MAP_FAILED;
	}
	if (out_flush())
		return STATUS_OPEN_FAILED;
	return job->result == IMG_SAME ? STATUS_SAME : STATUS_DIFFERENT;
}

static struct image *open_one(const struct common *c, const char *name,
    const char *format, enum img_cache cache)
{
	struct err e = ERR_INIT;
	struct source s = source_operand(c, name);
	struct image *img;

	s.how.format = format;
	s.how.cache = cache;
	img = source_open(&s, &e);
	if (!img)
		msg_err(&e);
	return img;
}

static int compare_run(void *args)
{
	struct compare_args *a = args;
	CLEANUP(image) struct image *one = NULL, *two = NULL;
	struct img_compare job = {.strict = a->strict};
	enum img_cache cache = IMG_CACHE_WRITEBACK;

	if (a->c.operands_n != 2)
		return msg_usage("Expecting two image file names");
	if (!source_opts_valid(&a->c) ||
	    !source_cache(a->c.src_cache, "source cache", &cache))
		return STATUS_OPEN_FAILED;
	one = open_one(&a->c, a->c.operands[0], a->c.format, cache);
	if (!one)
		return STATUS_OPEN_FAILED;
	two = open_one(&a->c, a->c.operands[1], a->format2, cache);
	if (!two)
		return STATUS_OPEN_FAILED;
	job.a = one;
	job.b = two;
	return (int)compare(a, &job);
}

static const struct opt opts[] = {
    OPT_OBJECT,
    OPT_IMAGE_OPTS,
    OPT_FORMAT(NULL),
    {'F', NULL, "fmt", "format of the second image",
	offsetof(struct compare_args, format2)},
    OPT_SRC_CACHE,
    OPT_PROGRESS,
    OPT_QUIET,
    {'s', NULL, NULL, "sizes and block status must be the same too",
	offsetof(struct compare_args, strict)},
    OPT_FORCE_SHARE,
    {0},
};

const struct command cmd_compare = {
    .name = "compare",
    .operands = "filename1 filename2",
    .summary = "Compare the content of two images.",
    .notes =
	"What the shorter image does not have must read as zeroes in the\n"
	"longer one.\n"
	"Exit codes: 0 identical, 1 different, 2 an image cannot be opened,\n"
	"3 its block status cannot be read, 4 its data cannot be read.\n",
    .opts = opts,
    .args_len = sizeof(struct compare_args),
    .run = compare_run,
    .object_status = STATUS_OPEN_FAILED,
};
