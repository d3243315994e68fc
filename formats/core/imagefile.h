/* SPDX-License-Identifier: BSD-3-Clause */
/* An image as the host file of another image. */
#ifndef IMGD_IMAGEFILE_H
#define IMGD_IMAGEFILE_H

#include "../driver.h"

/* The disk of `img` as a file, closed with it.  NULL with *e set, and img is
 * closed. */
struct hostfile *image_as_file(struct image *img, struct err *e);

#endif
