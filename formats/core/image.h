/* SPDX-License-Identifier: BSD-3-Clause */
/* The image object: making and destroying one layer. */
#ifndef IMGD_CORE_IMAGE_H
#define IMGD_CORE_IMAGE_H

#include "../driver.h"

/*
 * A layer on an open file, before the driver has seen it.  Takes over the
 * reference to f when it succeeds.
 */
struct image *image_new(struct hostfile *f, const struct driver *drv,
    const struct img_open *how, struct err *e);
/* Release a layer and those below it; nothing is flushed. */
void image_destroy(struct image *img);

#endif
