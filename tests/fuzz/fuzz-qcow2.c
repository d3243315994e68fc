/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Fuzz target: the input is a qcow2 image in memory.  It is looked at, checked,
 * repaired and written to; other files that it names are not opened.
 */
#include <stdlib.h>

#include "formats/core/units.h"
#include "look.h"

#define EXTENTS_MAX 2000u
#define BITMAPS_MAX 4u
#define PIECE	    65536u

static void map_bitmap(struct image *img, const char *name)
{
	uint64_t size = img_size(img), off = 0;
	struct img_bitmap_extent x = {0};

	for (unsigned i = 0; off < size && i < EXTENTS_MAX; i++) {
		struct err e = ERR_INIT;

		if (img_bitmap_map(img, name, off, size - off, &x, &e))
			return;
		if (!x.len || x.len > size - off)
			abort();
		off += x.len;
	}
}

static void bitmaps(struct image *img)
{
	struct err e = ERR_INIT;
	struct img_bitmap *list;
	size_t n;

	if (img_bitmaps(img, &list, &n, &e))
		return;
	for (size_t i = 0; i < n && i < BITMAPS_MAX; i++)
		map_bitmap(img, list[i].name);
	img_bitmaps_free(list, n);
}

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

static void look(const uint8_t *data, size_t len)
{
	struct image *img = fuzz_open("qcow2", data, len, 0);

	if (!img)
		return;
	fuzz_describe(img);
	bitmaps(img);
	fuzz_map(img);
	fuzz_read(img);
	img_drop(img);
}

/* After a repair that says that all is well, all is well. */
static void repair(const uint8_t *data, size_t len, enum img_repair what)
{
	struct image *img =
	    fuzz_open("qcow2", data, len, IMG_O_CHECK | IMG_O_RDWR);
	struct img_check out, again;
	struct err e = ERR_INIT;

	if (!img)
		return;
	if (!img_repair(img, what, &out, NULL, NULL, &e) &&
	    (img_check(img, &again, NULL, NULL, &e) ||
		again.corruptions != out.corruptions ||
		again.leaks != out.leaks))
		abort();
	img_drop(img);
}

/* Whatever fails, it must fail in order. */
static void change(const uint8_t *data, size_t len)
{
	static const uint8_t buf[PIECE] = {1};
	struct image *img =
	    fuzz_open("qcow2", data, len, IMG_O_RDWR | IMG_O_DISCARD);
	struct err e = ERR_INIT;
	uint64_t size;

	if (!img)
		return;
	size = min_u64(img_size(img), MiB);
	if (size >= 4096) {
		img_pwrite(img, buf, 4096, size / 2 & ~511ull, 0, &e);
		err_clear(&e);
		img_pwrite(img, buf, min_u64(size, sizeof buf), 0, 0, &e);
		err_clear(&e);
		img_zero(img, size / 4, size / 8, IMG_MAY_TRIM, &e);
		err_clear(&e);
		img_trim(img, size / 4, size / 2, 0, &e);
		err_clear(&e);
	}
	img_flush(img, &e);
	err_clear(&e);
	change_bitmaps(img);
	img_resize(img, size + 4096, IMG_PREALLOC_OFF, &e);
	err_clear(&e);
	img_resize(img, size / 1024 * 512, IMG_PREALLOC_OFF, &e);
	img_drop(img);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	look(data, len);
	fuzz_check("qcow2", data, len);
	repair(data, len, IMG_REPAIR_LEAKS);
	repair(data, len, IMG_REPAIR_ALL);
	change(data, len);
	return 0;
}
