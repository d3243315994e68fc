/* SPDX-License-Identifier: BSD-3-Clause */
/* convert: what is asked for. See convert.h. */
#include <stdlib.h>
#include <string.h>

#include "convert.h"
#include "createopts.h"
#include "msg.h"
#include "source.h"

#define SPARSE_LEN  4096 /* -S when it is not given */
#define SPARSE_MAX  (16u << 20)
#define THREADS_MAX 16

/* Options that exclude each other, in the order in which that is said. */
static bool combination_valid(const struct convert_args *a)
{
	const struct {
		bool wrong;
		const char *text;
	} rules[] = {
	    {a->skip_broken && !a->bitmaps,
		"Use of --skip-broken-bitmaps requires --bitmaps"},
	    {a->existing && a->options,
		"-o has no effect when skipping image creation"},
	    {a->compress && a->offload,
		"Cannot enable copy offloading when -c is used"},
	    {a->sparse && a->offload,
		"Cannot enable copy offloading when -S is used"},
	    {a->salvage && a->offload,
		"Cannot use copy offloading in salvaging mode"},
	    {a->target_opts && !a->existing,
		"--target-image-opts requires use of -n flag"},
	    {a->target_opts && a->target_format,
		"--target-image-opts and -O are mutually exclusive"},
	    {a->target_zero && !a->existing,
		"--target-is-zero requires use of -n flag"},
	};

	for (size_t i = 0; i < sizeof rules / sizeof rules[0]; i++) {
		if (!rules[i].wrong)
			continue;
		msg_error("%s", rules[i].text);
		return false;
	}
	return source_opts_valid(&a->c);
}

static int read_sparse(const char *text, uint32_t *out, struct err *e)
{
	uint64_t len = SPARSE_LEN;

	if (text && parse_size(text, "buffer size for sparse output", 0,
			INT64_MAX, &len, e))
		return -1;
	if (len % 512 || len > SPARSE_MAX)
		return err_usage(e,
		    "Invalid buffer size for sparse output specified. Valid "
		    "sizes are multiples of 512 up to %u. Select 0 to disable "
		    "sparse detection (fully allocates output).",
		    SPARSE_MAX);
	*out = (uint32_t)len;
	return 0;
}

static int read_threads(const char *text, unsigned *out, struct err *e)
{
	char *end;
	long n;

	if (!text)
		return 0;
	n = strtol(text, &end, 0);
	if (end == text || *end || n < 1 || n > THREADS_MAX)
		return err_usage(e,
		    "Invalid number of coroutines. Allowed number of "
		    "coroutines is between 1 and %d",
		    THREADS_MAX);
	*out = (unsigned)n;
	return 0;
}

static int read_numbers(
    const struct convert_args *a, struct img_copy *copy, struct err *e)
{
	if (read_sparse(a->sparse, &copy->sparse_len, e) ||
	    read_threads(a->threads, &copy->threads, e))
		return -1;
	return a->rate ? parse_size(a->rate, "rate limit", 0, INT64_MAX,
			     &copy->rate, e)
		       : 0;
}

static unsigned copy_flags(const struct convert_args *a)
{
	return (a->compress ? IMG_COPY_PACK : 0) |
	       (a->target_zero ? IMG_COPY_TARGET_ZERO : 0) |
	       (a->unordered ? IMG_COPY_UNORDERED : 0) |
	       (a->offload ? IMG_COPY_OFFLOAD : 0) |
	       (a->salvage ? IMG_COPY_SALVAGE : 0);
}

static int convert(struct convert *x)
{
	struct err e = ERR_INIT;
	size_t operands_n = (size_t)x->a->c.operands_n;
	int status;

	if (read_numbers(x->a, &x->copy, &e))
		return msg_err(&e);
	if (operands_n < 2)
		return msg_error("Must specify image file name");
	x->copy.src_n = operands_n - 1;
	x->copy.src = calloc(operands_n, sizeof(struct image *));
	if (!x->copy.src)
		return msg_error("out of memory");
	status = convert_do(x);
	free(x->copy.src);
	return status;
}

static int convert_run(void *args)
{
	struct convert_args *a = args;
	struct err e = ERR_INIT;
	CLEANUP(options) struct options *o = options_new(&e);
	struct convert x = {.a = a,
	    .options = o,
	    .cache = IMG_CACHE_UNSAFE,
	    .copy = {.len = UINT64_MAX, .flags = copy_flags(a)}};

	if (!o || createopts_add(o, a->options, NULL, NULL, &e))
		return msg_err(&e);
	if (a->c.operands_n)
		x.target = a->c.operands[a->c.operands_n - 1];
	if (createopts_help_wanted(o))
		return createopts_help(
		    a->target_format ? a->target_format : "raw", x.target);
	if (!source_cache(a->c.cache, "cache", &x.cache) ||
	    !source_cache(a->c.src_cache, "source cache", &x.src_cache) ||
	    !combination_valid(a))
		return EXIT_FAILURE;
	return convert(&x);
}

#define FIELD(member) offsetof(struct convert_args, member)
static const struct opt opts[] = {
    OPT_OBJECT,
    OPT_IMAGE_OPTS,
    {0, "target-image-opts", NULL,
	"the name of the target is a list of options; needs -n",
	FIELD(target_opts)},
    {0, "target-is-zero", NULL, "the target reads as zeroes already; needs -n",
	FIELD(target_zero)},
    {0, "bitmaps", NULL, "copy the bitmaps too", FIELD(bitmaps)},
    {0, "skip-broken-bitmaps", NULL, "leave out those that are inconsistent",
	FIELD(skip_broken)},
    OPT_FORCE_SHARE,
    {'C', NULL, NULL, "let the kernel copy where it can", FIELD(offload)},
    {'c', NULL, NULL, "compress", FIELD(compress)},
    OPT_PROGRESS,
    OPT_QUIET,
    {'n', NULL, NULL, "the target exists: write into it", FIELD(existing)},
    OPT_FORMAT(NULL),
    OPT_CACHE("unsafe"),
    OPT_SRC_CACHE,
    {'O', NULL, "output_fmt", "format of the target (default: raw)",
	FIELD(target_format)},
    {'B', NULL, "backing_file",
	"the target is based on this file: what the sources have not above "
	"it is left out",
	FIELD(backing)},
    {'F', NULL, "backing_fmt", "its format; -B needs it", FIELD(backing_fmt)},
    {'o', NULL, "options",
	"options of the target's format; `-o help` lists them", FIELD(options),
	true},
    {'l', NULL, "snapshot", "read an internal snapshot of the source",
	FIELD(snapshot)},
    {'S', NULL, "sparse_size",
	"zeroes of at least that many bytes are left out (default: 4k); "
	"0: all is written",
	FIELD(sparse)},
    {'r', NULL, "rate_limit", "bytes a second", FIELD(rate)},
    {'m', NULL, "threads", "1 to 16 (default: one for each processor)",
	FIELD(threads)},
    {'W', NULL, NULL, "write in any order: faster, but the layout varies",
	FIELD(unordered)},
    {0, "salvage", NULL, "what cannot be read becomes zeroes, with a warning",
	FIELD(salvage)},
    {0},
};

const struct command cmd_convert = {
    .name = "convert",
    .operands = "filename [filename2 [...]] output_filename",
    .summary = "Copy images, one after the other, into a new one.",
    .notes =
	"A file that stands at the name of the target is replaced when the\n"
	"new one is complete.  Only with another cache mode than unsafe (-t)\n"
	"it is on stable storage by then.\n",
    .opts = opts,
    .args_len = sizeof(struct convert_args),
    .run = convert_run,
};
