/* SPDX-License-Identifier: BSD-3-Clause */
/* What fuzz targets of formats have in common: see look.h. */
#include <stdlib.h>

#include "formats/core/units.h"
#include "formats/driver.h"
#include "look.h"

#define READ_MAX    (4 * MiB) /* bytes that are read at all */
#define EXTENTS_MAX 2000u
#define BITMAPS_MAX 4u
#define PIECE	    65536u

struct image *fuzz_open(
    const char *format, const uint8_t *data, size_t len, unsigned flags)
{
	const struct img_open how = {.format = format,
	    .flags = flags | IMG_O_NO_BACKING,
	    .gate = IMG_GATE_DENY};
	struct err e = ERR_INIT;
	struct hostfile *f = host_open_memory("input", 0, &e);
	struct image *img;

	if (!f || (len && host_pwrite(f, data, len, 0, &e)))
		abort();
	img = img_open_host(f, &how, &e);
	if (!img && (!err_is_set(&e) || !e.msg[0]))
		abort();
	return img;
}

void fuzz_describe(struct image *img)
{
	struct err e = ERR_INIT;
	struct img_snapshot *list;
	struct img_info info;
	size_t n;

	if (!img_info(img, &info, &e))
		img_info_clear(&info);
	err_clear(&e);
	if (!img_snapshots(img, &list, &n, &e))
		img_snapshots_free(list, n);
}

void fuzz_map(struct image *img)
{
	uint64_t size = img_size(img), off = 0;

	for (unsigned i = 0; off < size && i < EXTENTS_MAX; i++) {
		struct err e = ERR_INIT;
		struct img_extent x;

		if (img_map(img, off, size - off, &x, &e)) {
			off += min_u64(PIECE, size - off);
			continue;
		}
		if (x.start != off || !x.len || x.len > size - off)
			abort();
		off += x.len;
	}
}

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

void fuzz_bitmaps(struct image *img)
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

void fuzz_read(struct image *img)
{
	static uint8_t buf[PIECE];
	uint64_t end = min_u64(img_size(img), READ_MAX);

	for (uint64_t off = 0; off < end; off += sizeof buf) {
		struct err e = ERR_INIT;

		img_pread(img, buf, min_u64(sizeof buf, end - off), off, &e);
	}
}

void fuzz_check(const char *format, const uint8_t *data, size_t len)
{
	struct image *img = fuzz_open(format, data, len, IMG_O_CHECK);
	struct err e = ERR_INIT;
	struct img_check out;

	if (!img)
		return;
	img_check(img, &out, NULL, NULL, &e);
	img_drop(img);
}

void fuzz_look(const char *format, const uint8_t *data, size_t len)
{
	struct image *img = fuzz_open(format, data, len, 0);

	if (!img)
		return;
	fuzz_describe(img);
	fuzz_map(img);
	fuzz_read(img);
	img_drop(img);
}

/* After a repair that says that all is well, all is well. */
void fuzz_repair(
    const char *format, const uint8_t *data, size_t len, enum img_repair what)
{
	struct image *img =
	    fuzz_open(format, data, len, IMG_O_CHECK | IMG_O_RDWR);
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
void fuzz_change(const char *format, const uint8_t *data, size_t len)
{
	static const uint8_t buf[PIECE] = {1};
	struct image *img =
	    fuzz_open(format, data, len, IMG_O_RDWR | IMG_O_DISCARD);
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
	img_resize(img, size + 4096, IMG_PREALLOC_OFF, &e);
	err_clear(&e);
	img_resize(img, size / 1024 * 512, IMG_PREALLOC_OFF, &e);
	img_drop(img);
}

void fuzz_all(const char *format, const uint8_t *data, size_t len)
{
	fuzz_look(format, data, len);
	fuzz_check(format, data, len);
	fuzz_repair(format, data, len, IMG_REPAIR_LEAKS);
	fuzz_repair(format, data, len, IMG_REPAIR_ALL);
	fuzz_change(format, data, len);
}
