/* SPDX-License-Identifier: BSD-3-Clause */
/* Preallocation of host and guest space. */
#ifndef IMGD_PREALLOC_H
#define IMGD_PREALLOC_H

#include "../driver.h"

/* Write `len` zeroes at `off`, so that the space is really there.  It is work
 * of that image, unless NULL. */
int prealloc_write(struct hostfile *f, uint64_t off, uint64_t len,
    struct image *img, struct err *e);

/* For formats whose disk lies in one piece at the end of the file. */

/* The option `preallocation` of such a format. */
int prealloc_read(struct options *o, enum img_prealloc *how, struct err *e);
/* The length of a new file; a device must have it. */
int prealloc_new(
    struct hostfile *f, uint64_t len, enum img_prealloc how, struct err *e);
/* A file of the image that ends at `from` is to end at `to`.  On failure it is
 * as long as before. */
int prealloc_resize(struct image *img, struct hostfile *f, uint64_t from,
    uint64_t to, enum img_prealloc how, struct err *e);

/*
 * Give every unit of guest [guest, end) its own host space, as `how` says;
 * what is mapped already is kept.  The only user of the image.
 */
int img_preallocate(struct image *img, uint64_t guest, uint64_t end,
    enum img_prealloc how, struct err *e);

#endif
