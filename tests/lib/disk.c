/* SPDX-License-Identifier: BSD-3-Clause */
/* Open images in memory: see disk.h. */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "check.h"
#include "disk.h"
#include "formats/core/units.h"
#include "hostio.h"
#include "peer.h"
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

void disk_close(struct disk *d)
{
	struct err e = ERR_INIT;
	struct image *img = d->img;

	d->img = NULL;
	if (img)
		assert_ok(img_close(img, &e), &e);
}

void disk_reopen_as(struct disk *d, const struct img_open *how)
{
	struct err e = ERR_INIT;

	disk_close(d);
	d->img = img_open_host(host_ref(d->file), how, &e);
	assert_no_error(&e);
}

void disk_reopen(struct disk *d, const char *format)
{
	disk_reopen_as(
	    d, &(struct img_open){.format = format, .flags = IMG_O_RDWR});
}

static void print_finding(void *arg, const char *line)
{
	(void)arg;
	print_message("%s\n", line);
}

static void check_peer(struct disk *d, bool leaks)
{
	struct err e = ERR_INIT;
	char path[] = "disk-check.XXXXXX", out[2048];
	int fd = mkstemp(path), rc;

	assert_true(fd >= 0);
	close(fd);
	assert_ok(hostio_save(d->file, path, &e), &e);
	rc = peer_check(path, out, sizeof out);
	unlink(path);
	if (rc && !(leaks && rc == 3))
		fail_msg("qemu-img check: %d: %s", rc, out);
}

void disk_check(struct disk *d, bool leaks)
{
	struct err e = ERR_INIT;
	struct img_check found;

	disk_reopen_as(
	    d, &(struct img_open){.format = "qcow2", .flags = IMG_O_CHECK});
	assert_ok(img_check(d->img, &found, print_finding, NULL, &e), &e);
	assert_int_equal(found.corruptions, 0);
	assert_int_equal(found.check_errors, 0);
	if (!leaks)
		assert_int_equal(found.leaks, 0);
	disk_close(d);
	if (peer_have("qemu-img"))
		check_peer(d, leaks);
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
