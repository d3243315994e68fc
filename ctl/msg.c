/* SPDX-License-Identifier: BSD-3-Clause */
/* What is said on stderr: see msg.h. */
#include "msg.h"

#include <stdio.h>

const char *msg_tool = "imgctl";

#define LINE_MAX_LEN 8192u

void msg_line(const char *text)
{
	char shown[LINE_MAX_LEN];

	err_show(shown, sizeof shown, text, "\n");
	fprintf(stderr, "%s\n", shown);
}

static void say(const char *kind, const char *fmt, va_list ap)
{
	char text[LINE_MAX_LEN], shown[LINE_MAX_LEN];

	vsnprintf(text, sizeof text, fmt, ap);
	err_show(shown, sizeof shown, text, "");
	fprintf(stderr, "%s: %s%s\n", msg_tool, kind, shown);
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
		msg_line(e->hint);
	return EXIT_FAILURE;
}

void msg_warning(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	say("warning: ", fmt, ap);
	va_end(ap);
}
