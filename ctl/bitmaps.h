/* SPDX-License-Identifier: BSD-3-Clause */
/* The dirty bitmaps that a copy takes along. */
#ifndef CTL_BITMAPS_H
#define CTL_BITMAPS_H

#include "formats/image.h"

struct bitmaps {
	struct img_bitmap *item;
	size_t n;
};

/*
 * All bitmaps of `src`, but no inconsistent ones: with `skip_broken` they are
 * left out with a warning, else they are an error.
 */
int bitmaps_choose(
    struct bitmaps *b, struct image *src, bool skip_broken, struct err *e);
/* Give `dst` bitmaps of the same names with the same bits. */
int bitmaps_copy(const struct bitmaps *b, struct image *dst, struct image *src,
    struct err *e);
void bitmaps_clear(struct bitmaps *b);

#endif
