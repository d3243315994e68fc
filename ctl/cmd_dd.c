/* SPDX-License-Identifier: BSD-3-Clause */
/* dd: copy a part of an image into a new one, with the operands of dd(1). */
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "createopts.h"
#include "msg.h"
#include "newimage.h"
#include "progress.h"
#include "source.h"

#define BLOCK_LEN  512	/* bs= when it is not given */
#define SPARSE_LEN 4096 /* zeroes of that length are not written */

struct dd_args {
	struct common c;
	const char *target_format;
};

struct operands {
	const char *in, *out;
	uint64_t block_len, skip; /* skip: blocks */
	uint64_t count;		  /* blocks; UINT64_MAX: all */
};

/* The text after `key=`, or NULL. */
static const char *value_of(const char *text, const char *key)
{
	size_t len = strlen(key);

	return !strncmp(text, key, len) && text[len] == '=' ? text + len + 1
							    : NULL;
}

static int read_operand(struct operands *x, const char *text, struct err *e)
{
	const char *v;

	if ((v = value_of(text, "if")))
		x->in = v;
	else if ((v = value_of(text, "of")))
		x->out = v;
	else if ((v = value_of(text, "bs")))
		return parse_size(v, "bs", 1, INT_MAX, &x->block_len, e);
	else if ((v = value_of(text, "count")))
		return parse_size(v, "count", 0, INT64_MAX, &x->count, e);
	else if ((v = value_of(text, "skip")))
		return parse_size(v, "skip", 0, INT64_MAX, &x->skip, e);
	else
		return err_usage(e, "unrecognized operand %.*s",
		    (int)strcspn(text, "="), text);
	return 0;
}

static int read_operands(
    const struct dd_args *a, struct operands *x, struct err *e)
{
	*x = (struct operands){.block_len = BLOCK_LEN, .count = UINT64_MAX};
	for (int i = 0; i < a->c.operands_n; i++)
		if (read_operand(x, a->c.operands[i], e))
			return -1;
	if (!x->in || !x->out)
		return err_usage(e, "Must specify both input and output files");
	return 0;
}

/* Blocks to bytes; what does not fit is past the end of any disk. */
static uint64_t blocks(const struct operands *x, uint64_t n)
{
	uint64_t bytes;

	return __builtin_mul_overflow(n, x->block_len, &bytes) ? UINT64_MAX
							       : bytes;
}

static int copy(const struct operands *x, struct image *in,
    const struct img_format *format, struct options *o,
    struct img_progress progress, struct err *e)
{
	uint64_t size = img_size(in), skip = blocks(x, x->skip);
	uint64_t len = blocks(x, x->count);
	char size_text[24];
	struct newimage n = {.name = x->out,
	    .format = format,
	    .options = o,
	    .copy = {.src = &in, .src_n = 1, .sparse_len = SPARSE_LEN},
	    .failure = "error while creating output image"};

	if (skip > size) {
		msg_error("%s: cannot skip to specified offset", x->in);
		skip = size;
	}
	if (len > size - skip)
		len = size - skip;
	snprintf(size_text, sizeof size_text, "%" PRIu64, len);
	if (options_set(o, "size", size_text, e))
		return -1;
	n.copy.flags = IMG_COPY_SHARE;
	n.copy.progress = progress;
	n.copy.src_off = skip;
	n.copy.len = len;
	return newimage_make(&n, e);
}

static int dd_run(void *args)
{
	struct dd_args *a = args;
	CLEANUP(image) struct image *in = NULL;
	struct err e = ERR_INIT;
	CLEANUP(options) struct options *o = options_new(&e);
	const struct img_format *format;
	struct operands x;
	struct progress p;
	struct source s;

	if (!o || read_operands(a, &x, &e))
		return msg_err(&e);
	if (!source_opts_valid(&a->c))
		return EXIT_FAILURE;
	s = source_operand(&a->c, x.in);
	in = source_open(&s, &e);
	if (!in)
		return msg_err(&e);
	format =
	    createopts_format(a->target_format ? a->target_format : "raw", &e);
	if (!format ||
	    copy(&x, in, format, o, progress_begin(&p, &a->c, 1), &e))
		return msg_err(&e);
	return EXIT_SUCCESS;
}

static const struct opt opts[] = {
    OPT_OBJECT,
    OPT_IMAGE_OPTS,
    OPT_FORCE_SHARE,
    OPT_FORMAT(NULL),
    {'O', NULL, "output_fmt", "format of the output (default: raw)",
	offsetof(struct dd_args, target_format)},
    {0},
};

const struct command cmd_dd = {
    .name = "dd",
    .operands =
	"[bs=block_size] [count=blocks] [skip=blocks] if=input of=output",
    .summary = "Copy a part of an image into a new one.",
    .notes =
	"bs     length of a block (default: 512)\n"
	"skip   blocks of the input that are passed over\n"
	"count  blocks that are copied, after those (default: to the end)\n"
	"if, of the input and the output\n",
    .opts = opts,
    .args_len = sizeof(struct dd_args),
    .run = dd_run,
};
