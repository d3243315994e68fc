/* SPDX-License-Identifier: BSD-3-Clause */
/* Reading inside a request. */
#ifndef IMGD_READ_H
#define IMGD_READ_H

#include "../driver.h"

/* img_pread() for a caller that is inside a request, in range. */
int read_range(
    struct image *img, void *buf, size_t len, uint64_t off, struct err *e);

#endif
