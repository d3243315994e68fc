/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Fuzz target: the input is a qcow2 image in memory.  It is looked at, checked,
 * repaired and written to; other files that it names are not opened.
 */
#include "look.h"

/* The first one goes; another one gets what it had. */
static void change_bitmaps(struct image *img)
{
	struct err e = ERR_INIT;
	struct img_bitmap *list;
	size_t n;

	if (img_bitmaps(img, &list, &n, &e))
		return;
	if (n) {
		img_bitmap_add(img, "fuzz", 0, true, &e);
		err_clear(&e);
		img_bitmap_merge(img, "fuzz", img, list[0].name, &e);
		err_clear(&e);
		img_bitmap_remove(img, list[0].name, &e);
	}
	img_bitmaps_free(list, n);
}

static void look(const uint8_t *data, size_t len, unsigned flags,
    void (*what)(struct image *))
{
	struct image *img = fuzz_open("qcow2", data, len, flags);

	if (!img)
		return;
	what(img);
	img_drop(img);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	fuzz_all("qcow2", data, len);
	look(data, len, 0, fuzz_bitmaps);
	look(data, len, IMG_O_RDWR | IMG_O_DISCARD, change_bitmaps);
	return 0;
}
