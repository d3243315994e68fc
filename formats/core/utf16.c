/* SPDX-License-Identifier: BSD-3-Clause */
/* Names in UTF-16: see utf16.h. */
#include <stdlib.h>

#include "units.h"
#include "utf16.h"

/* One character of UTF-16: 2 or 4 bytes; 0: not valid. */
static size_t utf16_get(const uint8_t *p, size_t len, uint32_t *c)
{
	uint32_t low;

	if (len < 2)
		return 0;
	*c = le16(p);
	if (*c < 0xd800 || *c > 0xdfff)
		return *c ? 2 : 0;
	low = len >= 4 ? le16(p + 2) : 0;
	if (*c > 0xdbff || low < 0xdc00 || low > 0xdfff)
		return 0;
	*c = 0x10000 + ((*c - 0xd800) << 10) + (low - 0xdc00);
	return 4;
}

static size_t utf8_put(char *out, uint32_t c)
{
	if (c < 0x80) {
		out[0] = (char)c;
		return 1;
	}
	if (c < 0x800) {
		out[0] = (char)(0xc0 | c >> 6);
		out[1] = (char)(0x80 | (c & 0x3f));
		return 2;
	}
	if (c < 0x10000) {
		out[0] = (char)(0xe0 | c >> 12);
		out[1] = (char)(0x80 | (c >> 6 & 0x3f));
		out[2] = (char)(0x80 | (c & 0x3f));
		return 3;
	}
	out[0] = (char)(0xf0 | c >> 18);
	out[1] = (char)(0x80 | (c >> 12 & 0x3f));
	out[2] = (char)(0x80 | (c >> 6 & 0x3f));
	out[3] = (char)(0x80 | (c & 0x3f));
	return 4;
}

char *utf16_to_utf8(const uint8_t *utf16, size_t len)
{
	char *out = malloc(len / 2 * 3 + 1);
	size_t at = 0, n, got;
	uint32_t c;

	for (n = 0; out && at < len; at += got) {
		got = utf16_get(utf16 + at, len - at, &c);
		if (!got) {
			free(out);
			return NULL;
		}
		n += utf8_put(out + n, c);
	}
	if (out)
		out[n] = '\0';
	return out;
}

/* One character of UTF-8: its length; 0: not valid. */
static size_t utf8_get(const uint8_t *p, uint32_t *c)
{
	static const uint32_t least[5] = {0, 0, 0x80, 0x800, 0x10000};
	size_t n = *p < 0x80 ? 1 : *p >> 5 == 6 ? 2 : *p >> 4 == 14 ? 3 : 4;

	if (n == 1) {
		*c = *p;
		return 1;
	}
	if (*p < 0xc2 || *p > 0xf4)
		return 0;
	*c = *p & (0x7fu >> n);
	for (size_t i = 1; i < n; i++) {
		if ((p[i] & 0xc0) != 0x80)
			return 0;
		*c = *c << 6 | (p[i] & 0x3f);
	}
	if (*c < least[n] || *c > 0x10ffff || (*c >= 0xd800 && *c <= 0xdfff))
		return 0;
	return n;
}

int utf8_to_utf16(uint8_t *out, size_t max, const char *text)
{
	const uint8_t *p = (const uint8_t *)text;
	size_t n = 0, got;
	uint32_t c;

	for (; *p; p += got) {
		got = utf8_get(p, &c);
		if (!got || max - n < 4)
			return -1;
		if (c >= 0x10000) {
			put_le16(out + n,
			    (uint16_t)(0xd800 + ((c - 0x10000) >> 10)));
			n += 2;
			c = 0xdc00 + ((c - 0x10000) & 0x3ff);
		}
		put_le16(out + n, (uint16_t)c);
		n += 2;
	}
	return (int)n;
}
