/* SPDX-License-Identifier: BSD-3-Clause */
/* See crash.h. */
#include "crash.h"

#include <stdio.h>

#include "check.h"
#include "formats/core/object.h"
#include "formats/core/units.h"
#include "formats/image.h"

static void need_key(void)
{
	struct err e = ERR_INIT;
	char *help;

	if (!object_find(CRASH_KEY))
		assert_ok(
		    object_add("secret,id=" CRASH_KEY ",data=key", &help, &e),
		    &e);
}

void crash_create(struct crashfile *c, const char *format, uint64_t size,
    const char *options, const char *backing)
{
	struct err e = ERR_INIT;
	CLEANUP(options) struct options *o = options_new(&e);
	struct hostfile *f = crashfile_host(c);
	char text[24];

	if (!strcmp(format, "luks"))
		need_key();
	snprintf(text, sizeof text, "%llu", (unsigned long long)size);
	if (options)
		assert_ok(options_parse(o, options, NULL, &e), &e);
	assert_ok(options_set(o, "size", text, &e), &e);
	if (backing) {
		assert_ok(options_set(o, "backing_file", backing, &e), &e);
		assert_ok(options_set(o, "backing_fmt", format, &e), &e);
	}
	assert_ok(img_create_host(f, format, o, &e), &e);
	assert_ok(host_sync(f, &e), &e);
	host_put(f);
}

struct image *crash_open(
    struct hostfile *f, const char *format, unsigned flags, struct err *e)
{
	CLEANUP(options) struct options *o = NULL;
	struct img_open how = {.format = format, .flags = flags};

	if (!strcmp(format, "luks")) {
		need_key();
		how.options = o = options_new(e);
		assert_ok(options_set(o, "key-secret", CRASH_KEY, e), e);
	}
	return img_open_host(host_ref(f), &how, e);
}

struct image *crash_must_open(
    struct hostfile *f, const char *format, unsigned flags)
{
	struct err e = ERR_INIT;
	struct image *img = crash_open(f, format, flags, &e);

	assert_no_error(&e);
	return img;
}

void crash_look(const struct crash_watch *w, unsigned moment)
{
	for (unsigned i = 0; i < w->image_n; i++)
		w->look(w->arg, i < 2 ? i : moment * w->image_n + i);
}

static void on_sync(void *arg, struct crashfile *c, unsigned barrier)
{
	(void)c;
	crash_look(arg, barrier);
}

void crash_watch(struct crashfile *c, struct crash_watch *w)
{
	crashfile_on_sync(c, on_sync, w);
}

#define SMALL_BLOCK 4096u

static void small_vdi(struct hostfile *f, uint64_t size)
{
	uint32_t block_n = (uint32_t)div_up(size, SMALL_BLOCK);
	uint32_t map_len = (uint32_t)round_up(4ull * block_n, 512);
	struct err e = ERR_INIT;
	uint8_t buf[1024];

	assert_true(map_len <= sizeof buf);
	assert_ok(host_pread(f, buf, 512, 0, &e), &e);
	put_le32(buf + 344, 512 + map_len); /* where the blocks begin */
	put_le32(buf + 376, SMALL_BLOCK);
	put_le32(buf + 384, block_n);
	assert_ok(host_pwrite(f, buf, 512, 0, &e), &e);
	memset(buf, 0xff, sizeof buf);
	assert_ok(host_pwrite(f, buf, map_len, 512, &e), &e);
}

/* The header has a sum of its bytes, itself left out. */
static void small_vpc(struct hostfile *f, uint64_t size)
{
	uint32_t block_n = (uint32_t)div_up(size, SMALL_BLOCK), sum = 0;
	struct err e = ERR_INIT;
	uint8_t buf[1024];

	assert_ok(host_pread(f, buf, sizeof buf, 512, &e), &e);
	put_be32(buf + 28, block_n);
	put_be32(buf + 32, SMALL_BLOCK);
	put_be32(buf + 36, 0);
	for (size_t i = 0; i < sizeof buf; i++)
		sum += buf[i];
	put_be32(buf + 36, ~sum);
	/* The sector of the table that is there. */
	assert_true(4ull * block_n <= 512);
	assert_ok(host_pwrite(f, buf, sizeof buf, 512, &e), &e);
}

void crash_small_blocks(struct hostfile *f, const char *format, uint64_t size)
{
	struct err e = ERR_INIT;

	if (!strcmp(format, "vdi"))
		small_vdi(f, size);
	else if (!strcmp(format, "vpc"))
		small_vpc(f, size);
	assert_ok(host_sync(f, &e), &e);
}

unsigned crash_unclosed_n(const char *format)
{
	return strcmp(format, "parallels") ? 0 : 1;
}

/* Other than leaks. */
static void keep_last(void *arg, const char *line)
{
	if (strncmp(line, "Leaked", 6))
		snprintf(arg, 256, "%s", line);
}

void crash_check(struct hostfile *f, const char *format)
{
	struct image *img =
	    crash_must_open(f, format, IMG_O_CHECK | IMG_O_NO_BACKING);
	struct err e = ERR_INIT;
	struct img_check found = {0};
	char last[256] = "";

	if (img_check(img, &found, keep_last, last, &e) && e.errnum == ENOTSUP)
		err_clear(&e);
	assert_no_error(&e);
	if (found.corruptions > crash_unclosed_n(format) || found.check_errors)
		fail_msg("%s", last);
	assert_ok(img_close(img, &e), &e);
}
