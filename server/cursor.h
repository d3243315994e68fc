/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Taking apart what a client sent: a cursor that never goes past the end of
 * the bytes.  Each function is false, and takes nothing, when they are short.
 */
#ifndef IMGD_CURSOR_H
#define IMGD_CURSOR_H

#include <stddef.h>

#include "core/units.h"

#include "nbd.h"

struct cursor {
	const uint8_t *p;
	size_t left;
};

/* Not terminated. */
struct text {
	const char *p;
	size_t len;
};

/* The next `len` bytes, or NULL. */
static inline const uint8_t *get_bytes(struct cursor *c, size_t len)
{
	const uint8_t *p = c->p;

	if (c->left < len)
		return NULL;
	c->p += len;
	c->left -= len;
	return p;
}

static inline bool get_u16(struct cursor *c, uint16_t *out)
{
	const uint8_t *p = get_bytes(c, 2);

	if (p)
		*out = be16(p);
	return p;
}

static inline bool get_u32(struct cursor *c, uint32_t *out)
{
	const uint8_t *p = get_bytes(c, 4);

	if (p)
		*out = be32(p);
	return p;
}

static inline bool get_u64(struct cursor *c, uint64_t *out)
{
	const uint8_t *p = get_bytes(c, 8);

	if (p)
		*out = be64(p);
	return p;
}

/* A length and as many bytes. */
static inline bool get_text(struct cursor *c, struct text *t)
{
	struct cursor at = *c;
	uint32_t len;

	if (!get_u32(&at, &len) || len > NBD_STRING_MAX || len > at.left)
		return false;
	t->len = len;
	t->p = (const char *)get_bytes(&at, len);
	*c = at;
	return true;
}

#endif
