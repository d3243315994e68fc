/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What formats share when a disk grows or shrinks.  The gate is closed: no
 * request is running.
 */
#ifndef IMGD_RESIZE_H
#define IMGD_RESIZE_H

#include "../driver.h"

/*
 * Before a larger size can be seen: whatever would show in [old, end) becomes
 * zeroes, as a backing file that is larger than the disk was, and the rest of
 * the last unit.  img->size covers the range already.
 */
int resize_hide(struct image *img, uint64_t old, uint64_t end, struct err *e);
/*
 * Before a smaller size can be seen: the driver unmaps the whole units from
 * `size` to the end of the disk.
 */
int resize_drop(struct image *img, uint64_t size, struct err *e);

#endif
