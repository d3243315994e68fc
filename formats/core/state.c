/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The invariants of an image, as assertions.
 *
 *                 metadata write failed (I5)
 *      IMAGE_OK ------------------------------> IMAGE_FAILED
 *   reads, writes                            reads; writes get EIO
 *
 *   reserve ---> publish   (I7: exactly one of the two)
 *          `---> abandon
 *
 * What is not here is checked where it matters: I2 by the order of write.c and
 * the buffers of tables.c, I3 by the levels of tables.c, I4 by the clusterset
 * of a driver, I6 by the crash suite.
 */
#include <assert.h>

#include "state.h"
#include "tables.h"

static void assert_read_only(struct image *img)
{
	assert(!quarantine_n(&img->quarantine));
	assert(!atomic_load(&img->reserved_n));
	assert(!img->tables || !tables_dirty_len(img->tables));
}

void assert_image_state(struct image *img)
{
	assert(quarantine_in_order(&img->quarantine)); /* I1, I3 */
	if (!image_writable(img))
		assert_read_only(img);
}

void assert_image_idle(struct image *img)
{
	assert_image_state(img);
	assert(!pin_inside(&img->pin));		/* I1 */
	assert(!atomic_load(&img->reserved_n)); /* I7 */
	assert(!img->ranges.head);
}
