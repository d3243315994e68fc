/* SPDX-License-Identifier: BSD-3-Clause */
/* What -o says about an image that is to be made: see createopts.h. */
#include "createopts.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "msg.h"
#include "out.h"

#define OPTS_MAX 64 /* of one format */

int createopts_add(struct options *o, const char *const *lists,
    const char *backing, const char *backing_fmt, struct err *e)
{
	for (; lists && *lists; lists++)
		if (options_parse(o, *lists, NULL, e))
			return -1;
	if (backing && options_set(o, "backing_file", backing, e))
		return -1;
	if (backing_fmt && options_set(o, "backing_fmt", backing_fmt, e))
		return -1;
	return 0;
}

bool createopts_help_wanted(const struct options *o)
{
	return options_has(o, "help") || options_has(o, "?");
}

const struct img_format *createopts_format(const char *name, struct err *e)
{
	const struct img_format *fmt = img_format_find(name);

	if (fmt && fmt->can_create)
		return fmt;
	if (fmt)
		err_usage(e,
		    "Format driver '%s' does not support image creation", name);
	else
		err_usage(e, "Unknown file format '%s'", name);
	return NULL;
}

/* ---- help --------------------------------------------------------------- */

static const char *type_name(enum img_opt_type type)
{
	switch (type) {
	case IMG_OPT_STR:
		return "<str>";
	case IMG_OPT_NUM:
		return "<num>";
	case IMG_OPT_SIZE:
		return "<size>";
	case IMG_OPT_BOOL:
		return "<bool (on/off)>";
	}
	return "";
}

static int by_name(const void *a, const void *b)
{
	const struct img_opt *const *x = a, *const *y = b;

	return strcmp((*x)->name, (*y)->name);
}

static bool listed(const struct img_opt *list, const char *name)
{
	for (; list->name; list++)
		if (!strcmp(list->name, name))
			return true;
	return false;
}

/* `more` may be NULL; what is in both is of the first. */
static void print_sorted(const struct img_opt *opts, const struct img_opt *more)
{
	const struct img_opt *sorted[OPTS_MAX];
	const struct img_opt *d;
	size_t n = 0;

	for (d = opts; d->name && n < OPTS_MAX; d++)
		if (d->help)
			sorted[n++] = d;
	for (d = more; d && d->name && n < OPTS_MAX; d++)
		if (!listed(opts, d->name))
			sorted[n++] = d;
	qsort(sorted, n, sizeof sorted[0], by_name);
	for (size_t i = 0; i < n; i++) {
		int len = printf(
		    "  %s=%s", sorted[i]->name, type_name(sorted[i]->type));

		printf(
		    "%*s - %s\n", len < 24 ? 24 - len : 0, "", sorted[i]->help);
	}
}

void createopts_list(const struct img_opt *opts)
{
	print_sorted(opts, NULL);
}

int createopts_help(const char *format, const char *target)
{
	struct err e = ERR_INIT;
	const struct img_format *fmt = createopts_format(format, &e);

	if (!fmt)
		return msg_err(&e);
	if (target)
		printf("Supported options:\n");
	else
		printf("Supported %s options:\n", format);
	print_sorted(fmt->create_opts, target ? img_file_opts : NULL);
	if (!target)
		printf("\nThe protocol level may support further options.\n"
		       "Specify the target filename to include those "
		       "options.\n");
	return out_flush();
}

/* ---- the line that create prints ---------------------------------------- */

/* A comma in a value is doubled, as it was typed. */
static void print_text(FILE *f, const char *value)
{
	for (; *value; value++) {
		if (*value == ',')
			fputc(',', f);
		fputc(*value, f);
	}
}

static int print_value(
    FILE *f, const struct img_opt *d, struct options *o, struct err *e)
{
	const char *text = options_get(o, d->name);
	uint64_t number = 0;

	fprintf(f, " %s=", d->name);
	switch (d->type) {
	case IMG_OPT_STR:
	case IMG_OPT_BOOL: /* checked before: `on`, `yes`, ... as it was typed
			    */
		print_text(f, text);
		break;
	case IMG_OPT_NUM:
		options_u64(o, d->name, &number, e);
		fprintf(f, "%" PRIu64, number);
		break;
	case IMG_OPT_SIZE:
		options_size(o, d->name, &number, e);
		fprintf(f, "%" PRIu64, number);
		break;
	}
	return err_is_set(e) ? -1 : 0;
}

/* Those of the list that are not in `but`, if there is one. */
static int print_list(FILE *f, const struct img_opt *list,
    const struct img_opt *but, struct options *o, struct err *e)
{
	for (const struct img_opt *d = list; d->name; d++) {
		if (but && listed(but, d->name))
			continue;
		if (options_has(o, d->name)) {
			if (print_value(f, d, o, e))
				return -1;
		} else if (d->shown) {
			fprintf(f, " %s=%s", d->name, d->shown);
		}
	}
	return 0;
}

int createopts_print(
    FILE *f, const struct img_format *fmt, struct options *o, struct err *e)
{
	return print_list(f, fmt->create_opts, NULL, o, e) ||
		       print_list(f, img_file_opts, fmt->create_opts, o, e)
		   ? -1
		   : 0;
}
