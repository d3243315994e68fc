/* SPDX-License-Identifier: BSD-3-Clause */
/* Messages: see log.h.  One write for each, so that threads do not mix. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "log.h"

static const char *program = "imgd";
static bool verbose;

void log_init(const char *name)
{
	program = name;
}

void log_verbose(bool on)
{
	verbose = on;
}

const char *log_program(void)
{
	return program;
}

static void print(const char *fmt, va_list ap)
{
	char *text;

	if (vasprintf(&text, fmt, ap) < 0)
		return;
	fprintf(stderr, "%s: %s\n", program, text);
	free(text);
}

void log_error(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	print(fmt, ap);
	va_end(ap);
}

void log_err(const struct err *e)
{
	log_error("%s", e->msg);
	if (e->hint[0])
		fprintf(stderr, "%s\n", e->hint);
}

void log_debug(const char *fmt, ...)
{
	va_list ap;

	if (!verbose)
		return;
	va_start(ap, fmt);
	print(fmt, ap);
	va_end(ap);
}
