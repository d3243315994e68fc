/* SPDX-License-Identifier: BSD-3-Clause */
/* The bytes of a secret object: see secret.h.  Messages never quote them. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "secret.h"

#define SECRET_LEN_MAX (1u << 20)

/* Reads a file of at most SECRET_LEN_MAX bytes into a buffer of one more. */
static int read_file(const char *path, uint8_t *buf, size_t *len, struct err *e)
{
	FILE *f = fopen(path, "re");
	int error;

	if (!f)
		return err_sys(e, errno, "Unable to read %s", path);
	errno = 0;
	*len = fread(buf, 1, SECRET_LEN_MAX + 1, f);
	error = ferror(f) ? errno : 0;
	fclose(f);
	if (error)
		return err_sys(e, error, "Unable to read %s", path);
	if (*len > SECRET_LEN_MAX)
		return err_usage(e, "Secret in %s is longer than %u bytes",
		    path, SECRET_LEN_MAX);
	return 0;
}

/* Value of a base64 digit, or -1. */
static int digit(uint8_t c)
{
	static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
				     "abcdefghijklmnopqrstuvwxyz0123456789+/";
	const char *p = c ? strchr(digits, c) : NULL;

	return p ? (int)(p - digits) : -1;
}

/* In place.  White space between digits does not count. */
static int decode_base64(uint8_t *buf, size_t *len, struct err *e)
{
	size_t in = 0, out = 0, digits = 0, pads = 0;
	uint32_t bits = 0;

	for (; in < *len; in++) {
		int v = digit(buf[in]);

		if (strchr(" \t\r\n", buf[in]) && buf[in])
			continue;
		pads += buf[in] == '=';
		if (pads ? buf[in] != '=' : v < 0)
			return err_usage(e,
			    "Unable to decode secret: byte %zu is no base64",
			    in);
		if (pads)
			continue;
		bits = bits << 6 | (uint32_t)v;
		if (digits++ % 4)
			buf[out++] =
			    (uint8_t)(bits >> (6 - 2 * ((digits - 1) % 4)));
	}
	if (pads > 2 || (digits + pads) % 4)
		return err_usage(
		    e, "Unable to decode secret: base64 is cut short");
	*len = out;
	return 0;
}

static int get_bytes(
    struct options *o, uint8_t *buf, size_t *len, struct err *e)
{
	const char *data = options_get(o, "data"), *file;

	file = options_get(o, "file");
	if (data && file)
		return err_usage(e, "'file' and 'data' are mutually exclusive");
	if (file)
		return read_file(file, buf, len, e);
	if (!data)
		return err_usage(e, "Either 'file' or 'data' must be provided");
	*len = strlen(data);
	if (*len > SECRET_LEN_MAX)
		return err_usage(
		    e, "Secret is longer than %u bytes", SECRET_LEN_MAX);
	memcpy(buf, data, *len);
	return 0;
}

static int read_into(
    struct options *o, uint8_t *buf, size_t *len, struct err *e)
{
	const char *format = options_get(o, "format");

	if (options_get(o, "keyid"))
		return err_unsupported(e,
		    "Secrets that are encrypted ('keyid') are not supported");
	if (format && strcmp(format, "raw") && strcmp(format, "base64"))
		return err_usage(
		    e, "Parameter 'format' does not accept value '%s'", format);
	if (get_bytes(o, buf, len, e))
		return -1;
	return format && !strcmp(format, "base64") ? decode_base64(buf, len, e)
						   : 0;
}

int secret_read(struct options *o, uint8_t **data, size_t *len, struct err *e)
{
	uint8_t *buf = malloc(SECRET_LEN_MAX + 1), *fit;

	if (!buf)
		return err_nomem(e);
	if (read_into(o, buf, len, e)) {
		free(buf);
		return -1;
	}
	buf[*len] = 0;
	fit = realloc(buf, *len + 1);
	*data = fit ? fit : buf;
	return 0;
}
