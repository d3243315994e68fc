/* SPDX-License-Identifier: BSD-3-Clause */
/* amend: change what an image was created with. */
#include <stdio.h>

#include "createopts.h"
#include "msg.h"
#include "out.h"
#include "progress.h"
#include "source.h"

struct amend_args {
	struct common c;
	const char **options;
	bool force;
};

static int print_options(const struct img_format *f)
{
	printf("Amend options for '%s':\n", f->name);
	createopts_list(f->amend_opts);
	return out_flush();
}

static int help(const char *format)
{
	const struct img_format *f = img_format_find(format);

	if (!f)
		return msg_error("Unknown file format '%s'", format);
	if (!f->amend_opts)
		return msg_error("Format driver '%s' does not support option "
				 "amendment",
		    format);
	return print_options(f);
}

static int amend(const struct amend_args *a, struct source *s,
    struct options *o, struct err *e)
{
	CLEANUP(image) struct image *img = source_open(s, e);
	struct progress p;
	int rc;

	if (!img)
		return -1;
	source_warn_probed(img, s->name);
	if (createopts_help_wanted(o))
		return help(img_format(img));
	img_set_progress(img, progress_begin(&p, &a->c, 1));
	rc = img_amend(img, o, e);
	return progress_close(&p, &img, rc, e);
}

static int amend_run(void *args)
{
	struct amend_args *a = args;
	struct err e = ERR_INIT;
	CLEANUP(options) struct options *o = options_new(&e);
	struct source s;
	int rc;

	if (!a->options)
		return msg_usage("Must specify options (-o)");
	if (!o || createopts_add(o, a->options, NULL, NULL, &e))
		return msg_err(&e);
	if (a->c.format && createopts_help_wanted(o))
		return help(a->c.format);
	if (a->c.operands_n != 1)
		return msg_error("Expecting one image file name");
	if (!source_opts_valid(&a->c))
		return EXIT_FAILURE;
	s = source_operand(&a->c, a->c.operands[0]);
	s.how.flags = IMG_O_RDWR | (a->force ? IMG_O_FORCE : 0);
	if (!source_cache(a->c.cache, "cache", &s.how.cache))
		return EXIT_FAILURE;
	rc = amend(a, &s, o, &e);
	return rc < 0 ? msg_err(&e) : rc;
}

static const struct opt opts[] = {
    OPT_OBJECT,
    OPT_IMAGE_OPTS,
    OPT_PROGRESS,
    OPT_QUIET,
    OPT_FORMAT(NULL),
    OPT_CACHE("writeback"),
    {0, "force", NULL,
	"change key slots of an encrypted image even if its data is lost then",
	offsetof(struct amend_args, force)},
    {'o', NULL, "options",
	"what is to be changed, and to what; `-o help` lists what can be",
	offsetof(struct amend_args, options), true},
    {0},
};

const struct command cmd_amend = {
    .name = "amend",
    .operands = "filename",
    .summary = "Change what an image was created with.",
    .notes = "The disk reads the same; what cannot be done is refused before\n"
	     "anything changes.\n",
    .opts = opts,
    .args_len = sizeof(struct amend_args),
    .run = amend_run,
};
