/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Ranges that may overlap, walked piece by piece: each byte once, with the
 * number of ranges that hold it.  Tables of a hostile image may overlap by the
 * thousand; the work stays that of reading the file once.
 */
#ifndef IMGD_QCOW2_SPANS_H
#define IMGD_QCOW2_SPANS_H

#include <stddef.h>
#include <stdint.h>

#include "../core/err.h"

struct spans {
	uint64_t *start, *end; /* unordered */
	size_t n, max;
};

void spans_destroy(struct spans *s); /* all zero bytes: empty */
int spans_add(struct spans *s, uint64_t start, uint64_t end, struct err *e);
/* In order; stops when fn fails.  Reorders the ranges. */
int spans_walk(struct spans *s,
    int (*fn)(
	void *arg, uint64_t start, uint64_t end, uint64_t times, struct err *e),
    void *arg, struct err *e);

#endif
