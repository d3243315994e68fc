/* SPDX-License-Identifier: BSD-3-Clause */
/* What fuzz targets of formats have in common: see look.h. */
#include <stdlib.h>

#include "formats/core/units.h"
#include "formats/driver.h"
#include "look.h"

#define READ_MAX    (4 * MiB) /* bytes that are read at all */
#define EXTENTS_MAX 2000u
#define PIECE	    65536u

struct image *fuzz_open(
    const char *format, const uint8_t *data, size_t len, unsigned flags)
{
	const struct img_open how = {
	    .format = format, .flags = flags, .gate = IMG_GATE_DENY};
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
