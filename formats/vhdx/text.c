/* SPDX-License-Identifier: BSD-3-Clause */
/* GUIDs, names in UTF-16, and checksums of VHDX images. */
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>

#include "vhdx.h"

/* ---- GUIDs ----------------------------------------------------------------
 */

bool vhdx_guid_is_zero(const struct vhdx_guid *g)
{
	static const struct vhdx_guid zero;

	return vhdx_guid_same(g, &zero);
}

bool vhdx_guid_same(const struct vhdx_guid *a, const struct vhdx_guid *b)
{
	return !memcmp(a, b, sizeof *a);
}

int vhdx_guid_new(struct vhdx_guid *g, struct err *e)
{
	if (getrandom(g, sizeof *g, 0) != sizeof *g)
		return err_set(e, ERR_SYSTEM, EIO, "no random bytes");
	/* Version 4: random. */
	g->byte[7] = (g->byte[7] & 0x0f) | 0x40;
	g->byte[8] = (g->byte[8] & 0x3f) | 0x80;
	return 0;
}

/* The order in which the bytes of the file are written down. */
static const uint8_t shown[16] = {
    3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15};

static bool dash_before(unsigned i)
{
	return i == 4 || i == 6 || i == 8 || i == 10;
}

void vhdx_guid_text(const struct vhdx_guid *g, char text[VHDX_GUID_TEXT])
{
	char *p = text;

	*p++ = '{';
	for (unsigned i = 0; i < 16; i++)
		p += sprintf(
		    p, "%s%02x", dash_before(i) ? "-" : "", g->byte[shown[i]]);
	strcpy(p, "}");
}

static int hex(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

bool vhdx_guid_parse(struct vhdx_guid *g, const char *text)
{
	bool braced = *text == '{';

	text += braced;
	for (unsigned i = 0; i < 16; i++) {
		int high, low;

		if (dash_before(i) && *text++ != '-')
			return false;
		high = hex(text[0]);
		low = high < 0 ? -1 : hex(text[1]);
		if (low < 0)
			return false;
		g->byte[shown[i]] = (uint8_t)(high << 4 | low);
		text += 2;
	}
	return !strcmp(text, braced ? "}" : "");
}

/* ---- UTF-16 ----------------------------------------------------------------
 */

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

char *vhdx_utf8(const uint8_t *utf16, size_t len)
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

int vhdx_utf16(uint8_t *out, size_t max, const char *text)
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

/* ---- CRC-32C ---------------------------------------------------------------
 */

/* table[k][b]: byte b with k bytes of zeroes behind it. */
static uint32_t table[8][256];
static pthread_once_t table_once = PTHREAD_ONCE_INIT;

static void make_table(void)
{
	for (uint32_t b = 0; b < 256; b++) {
		uint32_t crc = b;

		for (int i = 0; i < 8; i++)
			crc = crc >> 1 ^ (crc & 1 ? 0x82f63b78u : 0);
		table[0][b] = crc;
	}
	for (unsigned k = 1; k < 8; k++)
		for (uint32_t b = 0; b < 256; b++)
			table[k][b] = table[k - 1][b] >> 8 ^
				      table[0][table[k - 1][b] & 0xff];
}

uint32_t vhdx_crc(const void *buf, size_t len)
{
	const uint8_t *p = buf;
	uint32_t crc = UINT32_MAX;

	lock_must(pthread_once(&table_once, make_table));
	for (; len >= 8; p += 8, len -= 8) {
		uint64_t v = le64(p) ^ crc;

		crc = 0;
		for (unsigned k = 0; k < 8; k++)
			crc ^= table[7 - k][v >> 8 * k & 0xff];
	}
	for (; len; p++, len--)
		crc = crc >> 8 ^ table[0][(crc ^ *p) & 0xff];
	return ~crc;
}

uint32_t vhdx_sum(uint8_t *buf, size_t len)
{
	uint32_t was = le32(buf + 4), sum;

	put_le32(buf + 4, 0);
	sum = vhdx_crc(buf, len);
	put_le32(buf + 4, was);
	return sum;
}
