/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Help: see help.h.
 *
 * Scripts search the text of help_all() for the options of a command (one
 * line a command, below "Command syntax:") and for "Supported formats:".
 */
#include "help.h"

#include <string.h>

#include "config.h"
#include "formats/image.h"
#include "msg.h"

/* The version of the tool whose place this one can take. */
#define REFERENCE_VERSION "10.0.0"

#define LINE_LEN    80
#define HELP_COLUMN 28 /* where the text about an option begins */

static bool in_place_of_reference(void)
{
	return strcmp(msg_tool, "imgctl") != 0;
}

void help_version(FILE *f)
{
	if (in_place_of_reference())
		fprintf(f,
		    "%s version " REFERENCE_VERSION " (imgctl " IMGD_VERSION
		    ")\n",
		    msg_tool);
	else
		fprintf(f, "imgctl version " IMGD_VERSION "\n");
}

static void print_syntax(FILE *f, const struct command *cmd)
{
	fprintf(f, "%s", cmd->name);
	for (const struct opt *o = cmd->opts; o->help; o++) {
		if (o->letter)
			fprintf(f, " [-%c", o->letter);
		else
			fprintf(f, " [--%s", o->name);
		if (o->arg)
			fprintf(f, "%c%s", o->letter ? ' ' : '=', o->arg);
		fputc(']', f);
	}
	fprintf(f, " %s\n", cmd->operands);
}

static void print_formats(FILE *f)
{
	const struct img_format *fmt;

	fprintf(f, "Supported formats:");
	for (unsigned i = 0; (fmt = img_format_at(i)); i++)
		fprintf(f, " %s", fmt->name);
	fputc('\n', f);
}

static const char about_values[] =
    "Values:\n"
    "  filename      path of an image, file:PATH, or json:{...}; with\n"
    "                --image-opts a list of options\n"
    "  fmt           format of an image; found out where it is not given\n"
    "  cache         none, writeback, writethrough, directsync or unsafe\n"
    "  size          bytes, or a number with one of the suffixes b, k, M, G,\n"
    "                T, P, E (powers of 1024); 0x... is hexadecimal\n"
    "  options       a list of name=value of the target's format, divided by\n"
    "                commas; `-o help` lists the names\n"
    "  snapshot      ID or name of an internal snapshot, or\n"
    "                snapshot.id=ID,snapshot.name=NAME\n"
    "  ofmt          human or json\n"
    "\n"
    "  -p shows progress, -q prints nothing but errors.  Options may also\n"
    "  follow the file names; `--` ends them.\n";

void help_all(FILE *f)
{
	help_version(f);
	fprintf(f,
	    "usage: %s [standard options] command [command options]\n"
	    "Make, convert and look at disk images\n\n"
	    "    '-h', '--help'       print this help\n"
	    "    '-V', '--version'    print the version\n"
	    "    '-T', '--trace'      accepted for compatibility; there are "
	    "no trace events\n\n"
	    "Command syntax:\n",
	    msg_tool);
	for (unsigned i = 0; commands[i]; i++) {
		fprintf(f, "  ");
		print_syntax(f, commands[i]);
	}
	fprintf(f, "\n%s\n", about_values);
	print_formats(f);
}

/* Cut at blanks; the lines begin below each other. */
static void print_wrapped(FILE *f, const char *text, unsigned column)
{
	const size_t width = LINE_LEN - column;

	while (strlen(text) > width) {
		size_t len = width;

		while (len && text[len] != ' ')
			len--;
		if (!len)
			break;
		fprintf(f, "%.*s\n%*s", (int)len, text, column, "");
		text += len + 1;
	}
	fprintf(f, "%s\n", text);
}

static void print_option(FILE *f, const struct opt *o)
{
	char left[64], *p = left, *end = left + sizeof left;

	p += snprintf(p, (size_t)(end - p), "  ");
	if (o->letter)
		p += snprintf(p, (size_t)(end - p), "-%c%s", o->letter,
		    o->name ? ", " : "");
	if (o->name)
		p += snprintf(p, (size_t)(end - p), "--%s", o->name);
	if (o->arg)
		snprintf(
		    p, (size_t)(end - p), "%c%s", o->name ? '=' : ' ', o->arg);
	if (strlen(left) >= HELP_COLUMN)
		fprintf(f, "%s\n%*s", left, HELP_COLUMN, "");
	else
		fprintf(f, "%-*s", HELP_COLUMN, left);
	print_wrapped(f, o->help, HELP_COLUMN);
}

void help_command(FILE *f, const struct command *cmd)
{
	static const struct opt help = {'h', "help", NULL, "print this help"};

	if (in_place_of_reference()) {
		help_all(f);
		return;
	}
	fprintf(f, "usage: %s ", msg_tool);
	print_syntax(f, cmd);
	fprintf(f, "\n%s\n\nOptions:\n", cmd->summary);
	for (const struct opt *o = cmd->opts; o->help; o++)
		print_option(f, o);
	print_option(f, &help);
	if (cmd->notes)
		fprintf(f, "\n%s", cmd->notes);
	fputc('\n', f);
	print_formats(f);
}
