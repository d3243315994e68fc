/* SPDX-License-Identifier: BSD-3-Clause */
/* A check of extents with tables in place: what check.c and check_leaks.c
 * share. */
#ifndef IMGD_VMDK_CHECK_H
#define IMGD_VMDK_CHECK_H

#include "../core/readcheck.h"
#include "../core/zero.h"
#include "vmdk.h"

struct check {
	struct readcheck r; /* counts and reports */
	struct vmdk_extent *x;
	bool leaks_too, all; /* what is repaired */
	uint64_t corruptions_fixed, leaks_fixed;
	struct clusterset meta; /* sectors */
	struct clusterset used; /* grains, counted from `lag` */
	struct clusterset odd;	/* the same that others lie over */
	bool differ;		/* redundant tables from the first ones */
	bool any;		/* `lag` is known */
	uint64_t lag;		/* host byte of a grain, modulo grains */
	uint8_t *gt, *copy;	/* a table and the redundant one */
};

void check_report_leak(struct check *c, const char *what, uint64_t number);
/* [host, host + len) is metadata. */
int check_claim(struct check *c, const char *what, uint64_t host, uint64_t len,
    struct err *e);
/* Is an entry empty, or of a grain that is nobody's so far? */
bool check_is_right(struct check *c, const uint8_t *gt, uint32_t ix);
/* The grain is somebody's. */
int check_use(struct check *c, uint64_t host, struct err *e);
/* host 0: nothing is read. */
int check_read_table(
    struct check *c, uint8_t *buf, uint64_t host, struct err *e);
/* After all tables that are read: the redundant one for gd_ix. */
int check_rest(struct check *c, uint64_t gd_ix, struct err *e);
/* After that: grains that nothing points to. */
int check_leaks(struct check *c, struct err *e);

#endif
