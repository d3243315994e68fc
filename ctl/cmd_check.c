/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * check: is an image consistent?  With -r, make it so.
 *
 * Findings go to stderr as they are made, the report to stdout.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "jout.h"
#include "msg.h"
#include "out.h"
#include "progress.h"
#include "source.h"

#define FINDINGS_LEN 65536u

enum status {
	STATUS_CLEAN = 0,
	STATUS_INCOMPLETE = 1,
	STATUS_CORRUPT = 2,
	STATUS_LEAKS = 3,
	STATUS_UNSUPPORTED = 63,
};

struct check_args {
	struct common c;
	const char *repair;
};

static void print_finding(void *arg, const char *line)
{
	(void)arg;
	msg_line(line);
}

/* There may be millions: nobody watches them one by one. */
static void buffer_findings(void)
{
	if (!isatty(STDERR_FILENO))
		setvbuf(stderr, NULL, _IOFBF, FINDINGS_LEN);
}

static double percent(uint64_t part, uint64_t whole)
{
	return whole ? (double)part * 100 / (double)whole : 0;
}

static void print_counts(FILE *f, const struct img_check *x)
{
	if (!x->corruptions && !x->leaks && !x->check_errors)
		fprintf(f, "No errors were found on the image.\n");
	if (x->corruptions)
		fprintf(f,
		    "\n%" PRIu64 " errors were found on the image.\n"
		    "Data may be corrupted, or further writes to the image "
		    "may corrupt it.\n",
		    x->corruptions);
	if (x->leaks)
		fprintf(f,
		    "\n%" PRIu64 " leaked clusters were found on the image.\n"
		    "This means waste of disk space, but no harm to data.\n",
		    x->leaks);
	if (x->check_errors)
		fprintf(f,
		    "\n%" PRIu64
		    " internal errors have occurred during the check.\n",
		    x->check_errors);
}

static void print_fixed(FILE *f, const struct img_check *x)
{
	if (x->corruptions_fixed || x->leaks_fixed)
		fprintf(f,
		    "The following inconsistencies were found and repaired:\n\n"
		    "    %" PRIu64 " leaked clusters\n"
		    "    %" PRIu64 " corruptions\n\n"
		    "Double checking the fixed image now...\n",
		    x->leaks_fixed, x->corruptions_fixed);
}

static void print_human(FILE *f, const struct img_check *x)
{
	print_fixed(f, x);
	print_counts(f, x);
	if (x->total && x->allocated)
		fprintf(f,
		    "%" PRIu64 "/%" PRIu64 " = %0.2f%% allocated, "
		    "%0.2f%% fragmented, %0.2f%% compressed clusters\n",
		    x->allocated, x->total, percent(x->allocated, x->total),
		    percent(x->fragmented, x->allocated),
		    percent(x->packed, x->allocated));
	if (x->image_end)
		fprintf(f, "Image end offset: %" PRIu64 "\n", x->image_end);
}

static void put_count(struct jout *w, const char *key, uint64_t n)
{
	if (n)
		jout_u64(w, key, n);
}

/* In the order that scripts know. */
static void print_json(
    FILE *f, const struct img_check *x, const char *name, const char *format)
{
	struct jout w = {.f = f};

	jout_begin(&w, NULL, '{');
	put_count(&w, "image-end-offset", x->image_end);
	put_count(&w, "compressed-clusters", x->packed);
	put_count(&w, "total-clusters", x->total);
	put_count(&w, "corruptions", x->corruptions);
	put_count(&w, "corruptions-fixed", x->corruptions_fixed);
	jout_u64(&w, "check-errors", x->check_errors);
	put_count(&w, "leaks", x->leaks);
	put_count(&w, "leaks-fixed", x->leaks_fixed);
	put_count(&w, "allocated-clusters", x->allocated);
	jout_text(&w, "filename", name);
	jout_text(&w, "format", format);
	put_count(&w, "fragmented-clusters", x->fragmented);
	jout_end(&w, '}');
	jout_done(&w);
}

static enum status verdict(const struct img_check *x)
{
	if (x->check_errors)
		return STATUS_INCOMPLETE;
	if (x->corruptions)
		return STATUS_CORRUPT;
	return x->leaks ? STATUS_LEAKS : STATUS_CLEAN;
}

static enum status print_report(const struct check_args *a, bool json,
    const struct img_check *x, const char *format)
{
	struct out out;

	if (a->c.quiet)
		return verdict(x);
	if (out_begin(&out))
		return STATUS_INCOMPLETE;
	if (json)
		print_json(out.f, x, a->c.operands[0], format);
	else
		print_human(out.f, x);
	return out_end(&out, 0) ? STATUS_INCOMPLETE : verdict(x);
}

/* 0: it is only checked. */
static int repair_of(const char *text)
{
	if (!text)
		return 0;
	return strcmp(text, "all") ? IMG_REPAIR_LEAKS : IMG_REPAIR_ALL;
}

static int run(struct image *img, const struct check_args *a,
    struct img_check *x, struct err *e)
{
	int repair = repair_of(a->repair);

	return repair ? img_repair(img, (enum img_repair)repair, x,
			    print_finding, NULL, e)
		      : img_check(img, x, print_finding, NULL, e);
}

static enum status check(
    const struct check_args *a, const struct source *s, bool json)
{
	CLEANUP(image) struct image *img = NULL;
	struct err e = ERR_INIT;
	const char *format;
	struct img_check x;
	struct progress p;

	img = source_open(s, &e);
	if (!img)
		return msg_err(&e);
	format = img_format(img);
	if (!img_format_find(format)->can_check) {
		msg_error("This image format does not support checks");
		return STATUS_UNSUPPORTED;
	}
	img_set_progress(img, progress_begin(&p, &a->c, 1));
	/* A repair is done when the image is closed. */
	if (run(img, a, &x, &e) || img_close(take(img), &e)) {
		err_prefix(&e, "Check failed: ");
		return msg_err(&e);
	}
	return print_report(a, json, &x, format);
}

static bool repair_valid(const char *text)
{
	if (!text || !strcmp(text, "leaks") || !strcmp(text, "all"))
		return true;
	msg_usage("Unknown option value for -r (expecting 'leaks' or "
		  "'all'): %s",
	    text);
	return false;
}

static int check_run(void *args)
{
	struct check_args *a = args;
	struct source s;
	bool json;

	if (!repair_valid(a->repair) || !out_wants_json(a->c.output, &json) ||
	    !source_one_operand(&a->c) || !source_opts_valid(&a->c))
		return STATUS_INCOMPLETE;
	s = source_operand(&a->c, a->c.operands[0]);
	s.how.flags |= IMG_O_CHECK;
	if (a->repair)
		s.how.flags |= IMG_O_RDWR;
	buffer_findings();
	if (!source_cache(a->c.src_cache, "source cache", &s.how.cache))
		return STATUS_INCOMPLETE;
	return (int)check(a, &s, json);
}

static const struct opt opts[] = {
    OPT_OBJECT,
    OPT_IMAGE_OPTS,
    OPT_QUIET,
    OPT_FORMAT("format"),
    OPT_OUTPUT,
    {'r', "repair", "leaks|all", "repair what is found: leaked space, or all",
	offsetof(struct check_args, repair)},
    OPT_SRC_CACHE,
    OPT_FORCE_SHARE,
    {0},
};

const struct command cmd_check = {
    .name = "check",
    .operands = "filename",
    .summary = "Look for errors in the structure of an image.",
    .notes =
	"Exit codes: 0 no error, 1 the check could not be completed,\n"
	"2 corruptions, 3 only leaked space, 63 the format has no check.\n",
    .opts = opts,
    .args_len = sizeof(struct check_args),
    .run = check_run,
};
