/* SPDX-License-Identifier: BSD-3-Clause */
/* GUIDs and checksums of VHDX images. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "../crypto/hash.h"
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
	if (random_bytes(g->byte, sizeof g->byte, e))
		return -1;
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
