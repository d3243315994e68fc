/* SPDX-License-Identifier: BSD-3-Clause */
/* What the measuring of all formats shares. */
#ifndef IMGD_MEASURE_H
#define IMGD_MEASURE_H

#include "../driver.h"

/* Bytes of the whole units of a disk that hold something that is not known to
 * be zeroes: what a copy of it will allocate at most. */
int measure_data(
    struct image *src, uint64_t unit, uint64_t *len, struct err *e);

#endif
