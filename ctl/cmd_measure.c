/* SPDX-License-Identifier: BSD-3-Clause */
/* measure: how large would an image be? */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "createopts.h"
#include "jout.h"
#include "msg.h"
#include "out.h"
#include "progress.h"
#include "source.h"

struct measure_args {
	struct common c;
	const char *target_format, *size, *snapshot;
	const char **options;
};

static int print_human(FILE *f, const struct img_measure *m)
{
	fprintf(f, "required size: %" PRIu64 "\n", m->required);
	fprintf(f, "fully allocated size: %" PRIu64 "\n", m->fully_allocated);
	if (m->bitmaps >= 0)
		fprintf(f, "bitmaps size: %" PRId64 "\n", m->bitmaps);
	return 0;
}

static int print_json(FILE *f, const struct img_measure *m)
{
	struct jout w = {.f = f};

	jout_begin(&w, NULL, '{');
	if (m->bitmaps >= 0)
		jout_i64(&w, "bitmaps", m->bitmaps);
	jout_u64(&w, "required", m->required);
	jout_u64(&w, "fully-allocated", m->fully_allocated);
	jout_end(&w, '}');
	jout_done(&w);
	return 0;
}

static int print_sizes(const struct img_measure *m, bool json)
{
	struct out out;

	if (out_begin(&out))
		return EXIT_FAILURE;
	return out_end(
	    &out, json ? print_json(out.f, m) : print_human(out.f, m));
}

/* What a file name needs, and what only goes with one. */
static bool usage_valid(const struct measure_args *a)
{
	const struct common *c = &a->c;

	if (c->operands_n > 1) {
		msg_error("At most one filename argument is allowed.");
		return false;
	}
	if (!c->operands_n && (c->image_opts || c->format || a->snapshot)) {
		msg_error("--image-opts, -f, and -l require a filename "
			  "argument.");
		return false;
	}
	if (!c->operands_n && !a->size) {
		msg_error("Either --size N or one filename must be specified.");
		return false;
	}
	if (c->operands_n && a->size) {
		msg_error("--size N cannot be used together with a filename.");
		return false;
	}
	return source_opts_valid(c);
}

static int measure(
    const struct measure_args *a, struct options *o, bool json, struct err *e)
{
	CLEANUP(image) struct image *img = NULL;
	struct img_measure m;
	struct progress p;

	if (a->c.operands_n) {
		struct source s = source_operand(&a->c, a->c.operands[0]);

		s.how.snapshot = a->snapshot;
		img = source_open(&s, e);
		if (!img)
			return -1;
		img_set_progress(img, progress_begin(&p, &a->c, 1));
	} else if (options_set(o, "size", a->size, e)) {
		return -1;
	}
	if (img_measure(a->target_format, o, img, &m, e))
		return -1;
	return print_sizes(&m, json);
}

static int measure_run(void *args)
{
	struct measure_args *a = args;
	struct err e = ERR_INIT;
	CLEANUP(options) struct options *o = options_new(&e);
	uint64_t size;
	bool json;
	int rc;

	if (!a->target_format)
		a->target_format = "raw";
	if (!o || createopts_add(o, a->options, NULL, NULL, &e))
		return msg_err(&e);
	if (createopts_help_wanted(o))
		return createopts_help(a->target_format, NULL);
	if (a->size &&
	    parse_size(a->size, "image size", 0, INT64_MAX, &size, &e))
		return msg_err(&e);
	if (!out_wants_json(a->c.output, &json) || !usage_valid(a))
		return EXIT_FAILURE;
	rc = measure(a, o, json, &e);
	return rc < 0 ? msg_err(&e) : rc;
}

static const struct opt opts[] = {
    OPT_OUTPUT,
    {'O', NULL, "output_fmt", "format of the image to be (default: raw)",
	offsetof(struct measure_args, target_format)},
    {'o', NULL, "options", "options of that format; `-o help` lists them",
	offsetof(struct measure_args, options), true},
    {0, "size", "N", "an empty disk of this size",
	offsetof(struct measure_args, size)},
    OPT_OBJECT,
    OPT_IMAGE_OPTS,
    OPT_FORMAT(NULL),
    {'l', NULL, "snapshot", "an internal snapshot of the image",
	offsetof(struct measure_args, snapshot)},
    OPT_FORCE_SHARE,
    {0},
};

const struct command cmd_measure = {
    .name = "measure",
    .operands = "[filename]",
    .summary = "Tell how large a file an image would need when converted.",
    .notes = "Either --size or a file name is needed.  The sizes are bytes.\n",
    .opts = opts,
    .args_len = sizeof(struct measure_args),
    .run = measure_run,
};
