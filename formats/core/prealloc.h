/* SPDX-License-Identifier: BSD-3-Clause */
/* Preallocation of host and guest space. */
#ifndef IMGD_PREALLOC_H
#define IMGD_PREALLOC_H

#include "../driver.h"

/* Write `len` zeroes at `off`, so that the space is really there.  It is work
 * of that image, unless NULL. */
int prealloc_write(struct hostfile *f, uint64_t off, uint64_t len,
    struct image *img, struct err *e);
/*
 * Give every unit of guest [guest, end) its own host space, as `how` says;
 * what is mapped already is kept.  The only user of the image.
 */
int img_preallocate(struct image *img, uint64_t guest, uint64_t end,
    enum img_prealloc how, struct err *e);

#endif
