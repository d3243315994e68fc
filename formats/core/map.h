/* SPDX-License-Identifier: BSD-3-Clause */
/* Which layer of a chain answers for a guest range, and with what. */
#ifndef IMGD_MAP_H
#define IMGD_MAP_H

#include "../driver.h"

/* The answer of a chain.  kind HOLE: no layer has it, reads as zeroes. */
struct chain_extent {
	struct extent x;
	struct image *layer; /* that answered; for HOLE the lowest one asked */
	unsigned depth;	     /* 0: the top                                   */
	bool short_backing;  /* HOLE past the end of `layer`, which is shorter
				than the one above it                        */
};

/* One layer alone. */
int layer_map(struct image *layer, uint64_t guest, uint64_t len,
    struct extent *x, struct err *e);
/*
 * Ask layer by layer until one has something.  At most `len` bytes.
 * Inside a request (gate entered, epoch pinned) or as the only user.
 */
int chain_map(struct image *img, uint64_t guest, uint64_t len,
    struct chain_extent *c, struct err *e);
/* Does the whole range read as zeroes, as far as the mapping and the holes of
 * the host tell?  Nobody writes to it meanwhile.
 * 1 yes, 0 no, -1 failed. */
int chain_is_zero(
    struct image *img, uint64_t guest, uint64_t len, struct err *e);

#endif
