/* SPDX-License-Identifier: BSD-3-Clause */
/* Allocations that fail: see nomem.h. */
#include <stdlib.h>
#include <string.h>

#include "formats/image.h"
#include "nomem.h"

static _Thread_local uint64_t left;
static _Thread_local bool hit;
static _Thread_local unsigned inside; /* calls of the core */

void nomem_arm(uint64_t nth)
{
	left = nth;
	hit = false;
}

bool nomem_hit(void)
{
	return hit;
}

static bool fails(void)
{
	if (!inside || !left || --left)
		return false;
	hit = true;
	return true;
}

/* What the linker calls instead of NAME, and how NAME is called then. */
#define WRAPPED(type, name, args, pass)                                        \
	type __real_##name args;                                               \
	type __wrap_##name args;                                               \
	type __wrap_##name args                                                \
	{                                                                      \
		return fails() ? NULL : __real_##name pass;                    \
	}

WRAPPED(void *, malloc, (size_t len), (len))
WRAPPED(void *, calloc, (size_t n, size_t len), (n, len))
WRAPPED(void *, realloc, (void *p, size_t len), (p, len))
WRAPPED(void *, reallocarray, (void *p, size_t n, size_t len), (p, n, len))
WRAPPED(char *, strdup, (const char *s), (s))

#define ENTRY(type, name, args, pass)                                          \
	type __real_##name args;                                               \
	type __wrap_##name args;                                               \
	type __wrap_##name args                                                \
	{                                                                      \
		type result;                                                   \
                                                                               \
		inside++;                                                      \
		result = __real_##name pass;                                   \
		inside--;                                                      \
		return result;                                                 \
	}

ENTRY(struct image *, img_open_host,
    (struct hostfile * f, const struct img_open *how, struct err *e),
    (f, how, e))
ENTRY(int, img_close, (struct image * img, struct err *e), (img, e))
ENTRY(int, img_amend, (struct image * img, struct options *o, struct err *e),
    (img, o, e))
ENTRY(int, img_pwrite,
    (struct image * img, const void *buf, size_t len, uint64_t off,
	unsigned flags, struct err *e),
    (img, buf, len, off, flags, e))
ENTRY(int, img_pread,
    (struct image * img, void *buf, size_t len, uint64_t off, struct err *e),
    (img, buf, len, off, e))
ENTRY(int, img_zero,
    (struct image * img, uint64_t len, uint64_t off, unsigned flags,
	struct err *e),
    (img, len, off, flags, e))
ENTRY(int, img_trim,
    (struct image * img, uint64_t len, uint64_t off, unsigned flags,
	struct err *e),
    (img, len, off, flags, e))
ENTRY(int, img_flush, (struct image * img, struct err *e), (img, e))
ENTRY(int, img_write_packed,
    (struct image * img, const void *packed, size_t len, uint64_t off,
	struct err *e),
    (img, packed, len, off, e))
