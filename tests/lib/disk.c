/* SPDX-License-Identifier: BSD-3-Clause */
/* Open images in memory: see disk.h. */
#include <stdio.h>
#include <stdlib.h>

#include "check.h"
#include "disk.h"
#include "formats/core/units.h"
#include "rng.h"

static struct image *open_on(
    struct hostfile *file, const char *format, struct err *e)
{
	const struct img_open how = {.format = format, .flags = IMG_O_RDWR};

	return img_open_host(host_ref(file), &how, e);
}

struct disk disk_new_on(struct hostfile *file, const char *format,
    uint64_t size, const char *options)
{
	struct disk d = {.file = file};
	struct err e = ERR_INIT;
	CLEANUP(options) struct options *o = options_new(&e);
	char text[24];

	snprintf(text, sizeof text, "%llu", (unsigned long long)size);
	assert_ok(options_set(o, "size", text, &e), &e);
	if (options)
		assert_ok(options_parse(o, options, NULL, &e), &e);
	assert_ok(img_create_host(file, format, o, &e), &e);
	d.img = open_on(file, format, &e);
	assert_no_error(&e);
	return d;
}

struct disk disk_new(const char *format, uint64_t size, const char *options)
{
	struct err e = ERR_INIT;
	struct hostfile *file = host_open_memory("disk", 0, &e);

	assert_no_error(&e);
	return disk_new_on(file, format, size, options);
}

void disk_reopen(struct disk *d, const char *format)
{
	struct err e = ERR_INIT;

	assert_ok(img_close(d->img, &e), &e);
	d->img = open_on(d->file, format, &e);
	assert_no_error(&e);
}

void disk_free(struct disk *d)
{
	img_drop(d->img);
	host_put(d->file);
}

void disk_write(struct disk *d, const void *buf, size_t len, uint64_t off)
{
	struct err e = ERR_INIT;

	assert_ok(img_pwrite(d->img, buf, len, off, 0, &e), &e);
}

static void make_text(struct rng *r, uint8_t *buf, size_t len)
{
	for (size_t i = 0; i < len; i++)
		buf[i] = "etaoin shrdlu\n"[rng_below(r, 14)];
}

void disk_fill(struct disk *d, uint8_t *want, uint64_t seed)
{
	struct rng r = {.state = seed};
	uint64_t size = img_size(d->img), n;

	memset(want, 0, size);
	for (uint64_t off = 0; off < size; off += n) {
		n = min_u64(size - off, 1 + rng_below(&r, 300000));
		switch (rng_below(&r, 4)) {
		case 0:
			rng_fill(&r, want + off, n);
			break;
		case 1:
			make_text(&r, want + off, n);
			break;
		case 2:
			break;
		default:
			continue;
		}
		disk_write(d, want + off, n, off);
	}
}

void disk_expect(struct disk *d, const void *want, size_t len, uint64_t off)
{
	struct err e = ERR_INIT;
	CLEANUP_FREE uint8_t *got = malloc(len + 1);

	assert_non_null(got);
	assert_ok(img_pread(d->img, got, len, off, &e), &e);
	assert_memory_equal(got, want, len);
}

uint8_t *disk_bytes(struct disk *d, uint64_t *len)
{
	struct err e = ERR_INIT;
	uint8_t *buf;

	*len = host_size(d->file);
	buf = malloc(*len + 1);
	assert_non_null(buf);
	assert_ok(host_pread(d->file, buf, *len, 0, &e), &e);
	return buf;
}
