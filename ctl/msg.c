/* SPDX-License-Identifier: BSD-3-Clause */
/* What is said on stderr: see msg.h. */
#include "msg.h"

#include <stdio.h>

const char *msg_tool = "imgctl";

static void say(const char *kind, const char *fmt, va_list ap)
{
	flockfile(stderr);
	fprintf(stderr, "%s: %s", msg_tool, kind);
	vfprintf(stderr, fmt, ap);
	fputc('\n', stderr);
	funlockfile(stderr);
}

int msg_error(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	say("", fmt, ap);
	va_end(ap);
	return EXIT_FAILURE;
}

int msg_usage(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	say("", fmt, ap);
	va_end(ap);
	fprintf(stderr, "Try '%s --help' for more information\n", msg_tool);
	return EXIT_FAILURE;
}

int msg_err(const struct err *e)
{
	msg_error("%s", e->msg);
	if (e->hint[0])
		fprintf(stderr, "%s\n", e->hint);
	return EXIT_FAILURE;
}

void msg_warning(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	say("warning: ", fmt, ap);
	va_end(ap);
}
