/* SPDX-License-Identifier: BSD-3-Clause */
/* Messages: see log.h.  One write for each, so that threads do not mix. */
#include <jansson.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "core/cleanup.h"

#include "log.h"

#define LINE_MAX_LEN 8192u

static const char *program = "imgd";
static bool verbose, json;

/* What this thread serves. */
static _Thread_local unsigned client;
static _Thread_local const char *export_name;

void log_init(const char *name)
{
	program = name;
}

void log_verbose(bool on)
{
	verbose = on;
}

void log_json(bool on)
{
	json = on;
}

void log_client(unsigned n)
{
	client = n;
}

void log_export(const char *name)
{
	export_name = name;
}

const char *log_program(void)
{
	return program;
}

/* Names of files need not be UTF-8; JSON must be. */
static json_t *json_text(const char *text)
{
	json_t *v = json_string(text);
	CLEANUP_FREE char *ascii = v ? NULL : strdup(text);

	if (!ascii)
		return v;
	for (char *p = ascii; *p; p++)
		if (*p & 0x80)
			*p = '?';
	return json_string(ascii);
}

static json_t *json_now(void)
{
	char text[64], date[32];
	struct timespec now;
	struct tm tm;

	clock_gettime(CLOCK_REALTIME, &now);
	gmtime_r(&now.tv_sec, &tm);
	strftime(date, sizeof date, "%Y-%m-%dT%H:%M:%S", &tm);
	snprintf(text, sizeof text, "%s.%03ldZ", date, now.tv_nsec / 1000000);
	return json_string(text);
}

static void print_json(const char *level, const char *text, const char *hint)
{
	CLEANUP_FREE char *line = NULL;
	json_t *o = json_object();

	json_object_set_new(o, "time", json_now());
	json_object_set_new(o, "level", json_string(level));
	json_object_set_new(o, "message", json_text(text));
	if (hint)
		json_object_set_new(o, "hint", json_text(hint));
	if (client)
		json_object_set_new(o, "client", json_integer(client));
	if (export_name)
		json_object_set_new(o, "export", json_text(export_name));
	line = json_dumps(o, JSON_COMPACT);
	json_decref(o);
	if (line)
		fprintf(stderr, "%s\n", line);
}

static void print(
    const char *level, const char *hint, const char *fmt, va_list ap)
{
	char raw[LINE_MAX_LEN], text[LINE_MAX_LEN];

	vsnprintf(raw, sizeof raw, fmt, ap);
	err_show(text, sizeof text, raw, "");
	if (json)
		print_json(level, text, hint);
	else if (hint)
		fprintf(stderr, "%s: %s\n%s\n", program, text, hint);
	else
		fprintf(stderr, "%s: %s\n", program, text);
}

void log_error(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	print("error", NULL, fmt, ap);
	va_end(ap);
}

static void print_hinted(const char *hint, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	print("error", hint, fmt, ap);
	va_end(ap);
}

void log_err(const struct err *e)
{
	print_hinted(e->hint[0] ? e->hint : NULL, "%s", e->msg);
}

void log_info(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	print("info", NULL, fmt, ap);
	va_end(ap);
}

void log_warning(const char *text)
{
	if (json)
		print_json("warning", text, NULL);
	else
		fprintf(stderr, "WARNING: %s\n", text);
}

void log_debug(const char *fmt, ...)
{
	va_list ap;

	if (!verbose)
		return;
	va_start(ap, fmt);
	print("debug", NULL, fmt, ap);
	va_end(ap);
}
