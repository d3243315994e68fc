/* SPDX-License-Identifier: BSD-3-Clause */
/* The invariants of an image that can be stated in code. */
#ifndef IMGD_STATE_H
#define IMGD_STATE_H

#include "../driver.h"

/* Stops the program when our own bookkeeping contradicts itself; bytes from
 * outside never get here.  Any time, any thread. */
void assert_image_state(struct image *img);
/* The same, and no request is running: before close. */
void assert_image_idle(struct image *img);

#endif
