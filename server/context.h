/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Metadata contexts: what a client can ask about the ranges of an export.
 *
 * A context of an export has a number, which is also its ID on the wire; the
 * same for all clients.  A set of contexts is a bit for each.
 */
#ifndef IMGD_CONTEXT_H
#define IMGD_CONTEXT_H

#include <stdbool.h>
#include <stdint.h>

#include "core/err.h"

#define CONTEXT_MAX   64u
#define CONTEXT_FIXED 3u /* numbers below: not those of bitmaps */

struct export;

/* Name of context i < CONTEXT_MAX; NULL when the export has none such. */
const char *context_name(const struct export *x, unsigned i);

struct context_extent {
	uint64_t len; /* guest bytes */
	uint64_t status;
	/* What each byte further adds to the status; where the answer is a
	   place, neighbours are one extent when they are next to each other. */
	uint64_t step;
};
/*
 * What context i says at `off` of the export, at most `len` bytes, len > 0.
 * Not `wide`: the status must fit 32 bits.
 */
int context_extent(const struct export *x, unsigned i, uint64_t off,
    uint64_t len, bool wide, struct context_extent *out, struct err *e);

#endif
