/* SPDX-License-Identifier: BSD-3-Clause */
/* What a disk must hold: see oracle.h. */
#include <stdlib.h>
#include <string.h>

#include "oracle.h"

void oracle_init(struct oracle *o, uint64_t size)
{
	o->size = size;
	o->data = calloc(1, size + 1);
	o->trimmed = calloc(1, size + 1);
	o->any_trimmed = false;
	if (!o->data || !o->trimmed)
		abort();
}

void oracle_free(struct oracle *o)
{
	free(o->data);
	free(o->trimmed);
}

void oracle_write(struct oracle *o, const void *buf, uint64_t len, uint64_t off)
{
	memcpy(o->data + off, buf, len);
	memset(o->trimmed + off, 0, len);
}

void oracle_zero(struct oracle *o, uint64_t len, uint64_t off)
{
	memset(o->data + off, 0, len);
	memset(o->trimmed + off, 0, len);
}

void oracle_trim(struct oracle *o, uint64_t len, uint64_t off)
{
	memset(o->trimmed + off, 1, len);
	o->any_trimmed = true;
}

bool oracle_read(struct oracle *o, const void *buf, uint64_t len, uint64_t off,
    uint64_t *bad)
{
	const uint8_t *p = buf;

	if (!memcmp(p, o->data + off, len) && !o->any_trimmed)
		return true;
	for (uint64_t i = 0; i < len; i++, off++) {
		if (p[i] != o->data[off] && (!o->trimmed[off] || p[i])) {
			*bad = off;
			return false;
		}
		o->data[off] = p[i];
		o->trimmed[off] = 0;
	}
	if (len == o->size)
		o->any_trimmed = false;
	return true;
}

bool oracle_is_zero(const struct oracle *o, uint64_t len, uint64_t off)
{
	const uint8_t *p = o->data + off;

	return !len || (!*p && !memcmp(p, p + 1, len - 1));
}
