/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The option parser: see opts.h and command.h.
 *
 * getopt_long() does the work.  Its two tables are made from the command's;
 * the value that it gives for an option is LONG_BASE + the row's index for a
 * long name, the letter for a short one.
 */
#include "opts.h"

#include <ctype.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>

#include "msg.h"

#define LONG_BASE  0x100
#define HELP_VALUE 0xff /* no letter, so that --help=x is told from -h */
#define OPTS_MAX   40	/* rows of one table */

struct tables {
	char letters[3 * OPTS_MAX + 8];
	struct option names[OPTS_MAX + 2];
};

static void add_letter(char *end, char letter, bool has_arg)
{
	*end++ = letter;
	if (has_arg)
		*end++ = ':';
	*end = 0;
}

static void make_tables(const struct opt *opts, struct tables *t)
{
	unsigned names_n = 0;

	/* ':' first: getopt tells a missing value from an unknown option. */
	strcpy(t->letters, ":h");
	t->names[names_n++] =
	    (struct option){"help", no_argument, NULL, HELP_VALUE};
	for (unsigned i = 0; i < OPTS_MAX && opts[i].help; i++) {
		const struct opt *o = &opts[i];

		if (o->letter)
			add_letter(
			    t->letters + strlen(t->letters), o->letter, o->arg);
		if (o->name)
			t->names[names_n++] = (struct option){o->name,
			    o->arg ? required_argument : no_argument, NULL,
			    LONG_BASE + (int)i};
	}
	t->names[names_n] = (struct option){0};
}

static const struct opt *find_row(const struct opt *opts, int value)
{
	if (value >= LONG_BASE)
		return &opts[value - LONG_BASE];
	while (opts->letter != value)
		opts++;
	return opts;
}

/* Append to the list at *list; its length is found by walking: it is short. */
static bool add_to_list(const char ***list, const char *value)
{
	size_t n = 0;
	const char **more;

	while (*list && (*list)[n])
		n++;
	more = reallocarray(*list, n + 2, sizeof *more);
	if (!more)
		return false;
	more[n] = value;
	more[n + 1] = NULL;
	*list = more;
	return true;
}

static bool store(const struct opt *o, void *args, const char *value)
{
	void *member = (char *)args + o->field;

	if (o->in_order)
		return add_to_list(member, o->name) &&
		       add_to_list(member, value ? value : "");
	if (o->repeats)
		return add_to_list(member, value);
	if (o->arg)
		*(const char **)member = value;
	else
		*(bool *)member = true;
	return true;
}

/* What the user typed that getopt did not take. */
static void say_unknown(char *const *argv, const char *what)
{
	if (optopt && optopt < HELP_VALUE)
		msg_usage("%s '-%c'", what, optopt);
	else
		msg_usage("%s '%s'", what, argv[optind - 1]);
}

/*
 * Move operands such as -5M, which getopt would take for options, out of
 * argv.  Returns how many stay; those taken are in `out`, `*out_n` of them.
 */
static int take_signed(int argc, char **argv, char **out, int *out_n)
{
	int kept = 1;

	for (int i = 1; i < argc; i++) {
		if (argv[i][0] == '-' && isdigit((unsigned char)argv[i][1]))
			out[(*out_n)++] = argv[i];
		else
			argv[kept++] = argv[i];
	}
	argv[kept] = NULL;
	return kept;
}

static enum opts_result read_options(
    const struct command *cmd, int argc, char **argv, void *args)
{
	struct tables t;
	int value;

	make_tables(cmd->opts, &t);
	optind = 0; /* getopt starts anew */
	opterr = 0;
	while (
	    (value = getopt_long(argc, argv, t.letters, t.names, NULL)) != -1) {
		switch (value) {
		case ':':
			say_unknown(argv, "missing argument for option");
			return OPTS_WRONG;
		case '?':
			say_unknown(argv, "unrecognized option");
			return OPTS_WRONG;
		case 'h':
		case HELP_VALUE:
			return OPTS_HELP;
		}
		if (!store(find_row(cmd->opts, value), args, optarg)) {
			msg_error("out of memory");
			return OPTS_WRONG;
		}
	}
	return OPTS_RUN;
}

enum opts_result opts_parse(
    const struct command *cmd, int argc, char **argv, void *args)
{
	struct common *c = args;
	char **operands = calloc((size_t)argc + 1, sizeof *operands);
	enum opts_result result;
	int signed_n = 0;

	if (!operands) {
		msg_error("out of memory");
		return OPTS_WRONG;
	}
	c->operands = operands;
	if (cmd->signed_operand)
		argc = take_signed(argc, argv, operands, &signed_n);
	result = read_options(cmd, argc, argv, args);
	if (result != OPTS_RUN)
		return result;
	c->operands_n = argc - optind;
	memmove(operands + c->operands_n, operands,
	    (size_t)signed_n * sizeof *operands);
	memcpy(
	    operands, argv + optind, (size_t)c->operands_n * sizeof *operands);
	c->operands_n += signed_n;
	return OPTS_RUN;
}

void opts_clear(const struct command *cmd, void *args)
{
	struct common *c = args;

	for (const struct opt *o = cmd->opts; o->help; o++) {
		const char ***list = (void *)((char *)args + o->field);

		if (!o->repeats)
			continue;
		free(*list);
		*list = NULL;
	}
	free(c->operands);
}
