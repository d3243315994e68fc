/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * convert: doing what is asked for.
 *
 * A new target is made beside what stands at its name and put in its place at
 * the end (newimage.c); one that exists (-n) is written in place.
 */
#include "convert.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "msg.h"
#include "newimage.h"
#include "progress.h"
#include "source.h"

#define PROGRESS_STEP 1 /* percent */
#define SECTOR_LEN    512

/* ---- sources ------------------------------------------------------------- */

static int open_sources(struct convert *x, struct err *e)
{
	for (size_t i = 0; i < x->copy.src_n; i++) {
		struct source s = source_operand(&x->a->c, x->a->c.operands[i]);

		s.how.snapshot = x->a->snapshot;
		s.how.cache = x->src_cache;
		x->copy.src[i] = source_open(&s, e);
		if (!x->copy.src[i])
			return -1;
	}
	return 0;
}

static void close_sources(struct convert *x)
{
	for (size_t i = 0; i < x->copy.src_n; i++)
		img_drop(x->copy.src[i]);
}

/* The second input and those after it begin with a sector. */
static int sum_sizes(const struct convert *x, uint64_t *sum, struct err *e)
{
	*sum = 0;
	for (size_t i = 0; i < x->copy.src_n; i++) {
		uint64_t gap = -*sum & (SECTOR_LEN - 1);

		if (__builtin_add_overflow(*sum, gap, sum) ||
		    __builtin_add_overflow(*sum, img_size(x->copy.src[i]), sum))
			return err_usage(
			    e, "The inputs together are too large");
	}
	return 0;
}

/* ---- bitmaps ------------------------------------------------------------- */

static int choose_bitmaps(struct convert *x, struct err *e)
{
	return x->a->bitmaps ? bitmaps_choose(&x->bitmaps, x->copy.src[0],
				   x->a->skip_broken, e)
			     : 0;
}

/* ---- targets ------------------------------------------------------------- */

static int into_existing(struct convert *x, uint64_t size, struct err *e)
{
	struct source s = {.name = x->target,
	    .is_opts = x->a->target_opts,
	    .how = {.flags = IMG_O_RDWR, .cache = x->cache}};

	x->copy.flags |= IMG_COPY_EXPLICIT;
	if (x->copy.sparse_len)
		s.how.flags |= IMG_O_DISCARD;
	if (x->format)
		s.how.format = x->format->name;
	x->copy.dst = source_open(&s, e);
	if (!x->copy.dst)
		return -1;
	if (img_size(x->copy.dst) < size)
		err_usage(e, "output file is smaller than input file");
	else if (!newimage_fill(
		     &x->copy, x->a->bitmaps ? &x->bitmaps : NULL, e))
		return newimage_finish(x->copy.dst, x->cache, e);
	img_drop(x->copy.dst);
	return -1;
}

static int into_new(struct convert *x, uint64_t size, struct err *e)
{
	CLEANUP_FREE char *failure = NULL;
	struct newimage n = {.name = x->target,
	    .format = x->format,
	    .options = x->options,
	    .cache = x->cache,
	    .copy = x->copy,
	    .bitmaps = x->a->bitmaps ? &x->bitmaps : NULL};
	char text[24];

	snprintf(text, sizeof text, "%" PRIu64, size);
	if (options_set(x->options, "size", text, e))
		return -1;
	if (asprintf(&failure, "error while converting %s", x->format->name) <
	    0) {
		failure = NULL;
		return err_nomem(e);
	}
	n.failure = failure;
	return newimage_make(&n, e);
}

/* ---- the job ------------------------------------------------------------- */

static void warn(void *arg, const char *line)
{
	const struct convert *x = arg;

	if (!x->a->c.quiet)
		msg_warning("%s", line);
}

static int copy(struct convert *x, struct err *e)
{
	uint64_t size;

	if (convert_check_sources(x, e) || open_sources(x, e) ||
	    convert_read_target(x, e) || choose_bitmaps(x, e) ||
	    sum_sizes(x, &size, e))
		return -1;
	return x->a->existing ? into_existing(x, size, e)
			      : into_new(x, size, e);
}

int convert_do(struct convert *x)
{
	struct err e = ERR_INIT;
	struct progress p;
	int rc;

	x->copy.warn = warn;
	x->copy.warn_arg = x;
	x->copy.progress = progress_begin(&p, &x->a->c, PROGRESS_STEP);
	rc = copy(x, &e);
	if (!rc)
		progress_full(&p);
	progress_end(&p);
	bitmaps_clear(&x->bitmaps);
	close_sources(x);
	return rc ? msg_err(&e) : EXIT_SUCCESS;
}
