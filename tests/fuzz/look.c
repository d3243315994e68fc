/* SPDX-License-Identifier: BSD-3-Clause */
/* What fuzz targets of formats have in common: see look.h. */
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "formats/core/units.h"
#include "formats/driver.h"
#include "look.h"

#define READ_MAX    (4 * MiB) /* bytes that are read at all */
#define EXTENTS_MAX 2000u
#define BITMAPS_MAX 4u
#define PIECE	    65536u
#define MERGE_MAX   (64 * MiB) /* of the disk */

struct hostfile *fuzz_file(const uint8_t *data, size_t len)
{
	struct err e = ERR_INIT;
	struct hostfile *f = host_open_memory("input", 0, &e);

	if (!f || (len && host_pwrite(f, data, len, 0, &e)))
		abort();
	return f;
}

struct image *fuzz_open_file(
    const char *format, struct hostfile *f, unsigned flags)
{
	const struct img_open how = {.format = format,
	    .flags = flags | IMG_O_NO_BACKING,
	    .gate = IMG_GATE_DENY};
	struct err e = ERR_INIT;
	struct image *img = img_open_host(f, &how, &e);

	if (!img && (!err_is_set(&e) || !e.msg[0]))
		abort();
	return img;
}

struct image *fuzz_open(
    const char *format, const uint8_t *data, size_t len, unsigned flags)
{
	return fuzz_open_file(format, fuzz_file(data, len), flags);
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

/* ---- commit ------------------------------------------------------------- */

/* A file without a name, which others can open by its path. */
static int nameless(const uint8_t *data, size_t len, char path[32])
{
	int fd = memfd_create("fuzz", MFD_CLOEXEC);

	if (fd < 0 || ftruncate(fd, (off_t)len) ||
	    (len && pwrite(fd, data, len, 0) != (ssize_t)len))
		abort();
	snprintf(path, 32, "/proc/self/fd/%d", fd);
	return fd;
}

static struct image *open_over(
    const char *format, const char *top, const char *base)
{
	const struct img_open how = {
	    .flags = IMG_O_RDWR, .gate = IMG_GATE_DENY, .writable_depth = 1};
	struct err e = ERR_INIT;
	CLEANUP(options) struct options *o = options_new(&e);

	if (!o || options_set(o, "driver", format, &e) ||
	    options_set(o, "file.filename", top, &e) ||
	    options_set(o, "backing.driver", "raw", &e) ||
	    options_set(o, "backing.file.filename", base, &e))
		abort();
	return img_open_options(o, &how, &e);
}

/* The input is what was written over a raw disk. */
void fuzz_merge(const char *format, const uint8_t *data, size_t len)
{
	char top[32], base[32];
	int top_fd = nameless(data, len, top);
	int base_fd = nameless(data, min_u64(len, 4096), base);
	struct image *img = open_over(format, top, base);
	struct err e = ERR_INIT;

	if (img && img_size(img) <= MERGE_MAX) {
		const struct img_merge job = {
		    .top = img, .base = img_backing(img)};

		img_merge(&job, &e);
	}
	img_drop(img);
	close(top_fd);
	close(base_fd);
}

void fuzz_all(const char *format, const uint8_t *data, size_t len)
{
	fuzz_look(format, data, len);
	fuzz_check(format, data, len);
	fuzz_repair(format, data, len, IMG_REPAIR_LEAKS);
	fuzz_repair(format, data, len, IMG_REPAIR_ALL);
	fuzz_change(format, data, len);
	fuzz_merge(format, data, len);
}
