/* SPDX-License-Identifier: BSD-3-Clause */
/* See crash.h. */
#include "crash.h"

#include <stdio.h>

#include "check.h"
#include "formats/image.h"

void crash_create(struct crashfile *c, const char *format, uint64_t size,
    const char *options, const char *backing)
{
	struct err e = ERR_INIT;
	CLEANUP(options) struct options *o = options_new(&e);
	struct hostfile *f = crashfile_host(c);
	char text[24];

	snprintf(text, sizeof text, "%llu", (unsigned long long)size);
	assert_ok(options_parse(o, options, NULL, &e), &e);
	assert_ok(options_set(o, "size", text, &e), &e);
	if (backing) {
		assert_ok(options_set(o, "backing_file", backing, &e), &e);
		assert_ok(options_set(o, "backing_fmt", "qcow2", &e), &e);
	}
	assert_ok(img_create_host(f, format, o, &e), &e);
	assert_ok(host_sync(f, &e), &e);
	host_put(f);
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
	const struct img_open how = {
	    .format = format, .flags = IMG_O_CHECK | IMG_O_NO_BACKING};
	struct err e = ERR_INIT;
	struct img_check found;
	char last[256] = "";
	struct image *img = img_open_host(host_ref(f), &how, &e);

	assert_no_error(&e);
	assert_ok(img_check(img, &found, keep_last, last, &e), &e);
	if (found.corruptions > crash_unclosed_n(format) || found.check_errors)
		fail_msg("%s", last);
	assert_ok(img_close(img, &e), &e);
}
