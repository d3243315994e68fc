/* SPDX-License-Identifier: BSD-3-Clause */
/* Bytes written as text: see base64.h. */
#include <stdbool.h>

#include "base64.h"

/* Value of a digit, or -1. */
static int digit(uint8_t c)
{
	if (c >= 'A' && c <= 'Z')
		return c - 'A';
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 26;
	if (c >= '0' && c <= '9')
		return c - '0' + 52;
	return c == '+' ? 62 : c == '/' ? 63 : -1;
}

static bool is_space(uint8_t c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

int base64_decode(uint8_t *buf, size_t *len, struct err *e)
{
	size_t in = 0, out = 0, digits = 0, pads = 0;
	uint32_t bits = 0;

	for (; in < *len; in++) {
		int v = digit(buf[in]);

		if (is_space(buf[in]))
			continue;
		pads += buf[in] == '=';
		if (pads ? buf[in] != '=' : v < 0)
			return err_usage(
			    e, "Base64 data contains invalid characters");
		if (pads)
			continue;
		bits = bits << 6 | (uint32_t)v;
		if (digits++ % 4)
			buf[out++] =
			    (uint8_t)(bits >> (6 - 2 * ((digits - 1) % 4)));
	}
	if (pads > 2 || (digits + pads) % 4)
		return err_usage(e, "Base64 data is cut short");
	*len = out;
	return 0;
}

void base64_encode(const uint8_t *buf, size_t len, char *out)
{
	static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
				     "abcdefghijklmnopqrstuvwxyz0123456789+/";

	for (size_t at = 0; at < len; at += 3) {
		uint32_t bits = 0;

		for (size_t i = 0; i < 3; i++)
			bits = bits << 8 | (at + i < len ? buf[at + i] : 0);
		for (size_t i = 0; i < 4; i++)
			*out++ = at + i > len
				     ? '='
				     : digits[bits >> (18 - 6 * i) & 63];
	}
	*out = 0;
}
