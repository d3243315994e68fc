/* SPDX-License-Identifier: BSD-3-Clause */
/* Values of options: see values.h. */
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "line.h"
#include "log.h"
#include "outbox.h"
#include "values.h"

/* ---- numbers ----------------------------------------------------------- */

static int parse_number(
    const char *what, const char *text, uint64_t max, uint64_t *out)
{
	char *end;

	errno = 0;
	*out = strtoull(text, &end, 0);
	if (*text && !*end && !errno && !strchr(text, '-') && *out <= max)
		return 0;
	log_error("Invalid %s '%s'", what, text);
	return -1;
}

int value_unsigned(const char *what, const char *text, unsigned *out)
{
	uint64_t v;

	if (parse_number(what, text, INT_MAX, &v))
		return -1;
	*out = (unsigned)v;
	return 0;
}

int value_size(const char *what, const char *text, uint64_t min, uint64_t *out)
{
	struct err e = ERR_INIT;

	if (!parse_size(text, what, min, INT64_MAX, out, &e))
		return 0;
	log_error("Invalid %s '%s'", what, text);
	return -1;
}

int value_client_requests(struct args *a, const char *text)
{
	if (value_unsigned("number of requests", text, &a->client_requests))
		return -1;
	if (a->client_requests && a->client_requests <= OUTBOX_REQUESTS_MAX)
		return 0;
	log_error("Invalid number of requests '%s': 1 to %u", text,
	    OUTBOX_REQUESTS_MAX);
	return -1;
}

/* ---- modes ------------------------------------------------------------- */

int value_log_format(const char *mode)
{
	log_json(!strcmp(mode, "json"));
	if (!strcmp(mode, "json") || !strcmp(mode, "text"))
		return 0;
	log_error("--log-format must be text or json, not '%s'", mode);
	return -1;
}

int value_cache(struct line *l, const char *mode)
{
	if (l->cache) {
		log_error("-n and --cache can only be specified once");
		return -1;
	}
	l->cache = true;
	if (img_cache_parse(mode, &l->a->image.open.cache))
		return 0;
	log_error("Invalid cache mode `%s'", mode);
	return -1;
}

int value_discard(struct line *l, const char *mode)
{
	if (l->discard) {
		log_error("--discard can only be specified once");
		return -1;
	}
	l->discard = true;
	if (export_parse_discard(mode, &l->a->image.open.flags))
		return 0;
	log_error("Invalid discard mode `%s'", mode);
	return -1;
}

/*
 * How the host is asked is the core's choice, and does not change what clients
 * see: only the rules of the modes are kept.
 */
int value_aio(struct line *l, const char *mode)
{
	if (l->aio) {
		log_error("--aio can only be specified once");
		return -1;
	}
	l->aio = true;
	l->a->image.native_aio = !strcmp(mode, "native");
	if (l->a->image.native_aio || !strcmp(mode, "threads") ||
	    !strcmp(mode, "io_uring"))
		return 0;
	log_error("Invalid aio mode '%s'", mode);
	return -1;
}

int value_backing(struct args *a, const char *mode)
{
	if (export_parse_backing(mode, &a->image.open.gate))
		return 0;
	log_error("--backing must be allow or deny, not '%s'", mode);
	return -1;
}

int value_detect_zeroes(struct args *a, const char *mode)
{
	if (export_parse_detect_zeroes(mode, &a->image.detect_zeroes))
		return 0;
	log_error("Failed to parse detect_zeroes mode: invalid parameter "
		  "value: %s",
	    mode);
	return -1;
}
