/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * map for formats that look up one block at a time: neighbours of one kind
 * become one long extent, which every caller takes in one piece.
 */
#ifndef IMGD_MAPRUN_H
#define IMGD_MAPRUN_H

#include "../driver.h"

/* Blocks that one call looks at, at most: it holds meta. */
#define MAPRUN_STEPS_MAX 65536u

/*
 * What is at `guest`: sets the kind, flags, file and host of *x, and its len:
 * 1 to `len` bytes, at most to where the next look-up has to begin.  *x comes
 * with guest and len set, and all else zero.
 */
typedef int maprun_look(struct image *img, uint64_t guest, uint64_t len,
    struct extent *x, struct err *e);

/*
 * The driver's map(): look() from `guest` on, as far as what it finds goes on.
 * A block that look() refuses is an error only where it is the first one.
 */
int maprun(struct image *img, maprun_look *look, uint64_t guest, uint64_t len,
    struct extent *x, struct err *e);

/* Does b, which follows a in the guest, go on in the same way?  Packed units
 * never do. */
bool extent_goes_on(const struct extent *a, const struct extent *b);

#endif
