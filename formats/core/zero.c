/* SPDX-License-Identifier: BSD-3-Clause */
/* Finding zeroes in data: see zero.h. */
#include <string.h>

#include "units.h"
#include "zero.h"

#define BLOCK 128u /* bytes looked at before each decision to go on */

static uint64_t or_block(const uint8_t *p)
{
	uint64_t w[BLOCK / 8], any = 0;

	memcpy(w, p, BLOCK);
	for (unsigned i = 0; i < ARRAY_N(w); i++)
		any |= w[i];
	return any;
}

bool is_zero(const void *buf, size_t len)
{
	const uint8_t *p = buf;

	for (; len >= BLOCK; p += BLOCK, len -= BLOCK)
		if (or_block(p))
			return false;
	for (; len; p++, len--)
		if (*p)
			return false;
	return true;
}

size_t zero_prefix(const uint8_t *buf, size_t len, size_t grain)
{
	size_t pos = 0;

	while (pos < len) {
		size_t n = min_u64(grain, len - pos);

		if (!is_zero(buf + pos, n))
			break;
		pos += n;
	}
	return pos;
}

struct zero_run zero_run_first(
    const uint8_t *buf, size_t len, size_t grain, size_t min)
{
	size_t pos, zeroes;

	if (!min)
		return (struct zero_run){len, false};
	pos = zero_prefix(buf, len, grain);
	if (pos >= min || pos == len)
		return (struct zero_run){pos, true};
	while (pos < len) {
		pos += min_u64(grain, len - pos); /* this piece is not zero */
		zeroes = zero_prefix(buf + pos, len - pos, grain);
		if (zeroes >= min)
			break;
		pos += zeroes;
	}
	return (struct zero_run){pos, false};
}
