/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Power failures while a VHDX image is resized, gets another parent, none, and
 * is emptied into it.  What could be found afterwards opens, for reading and
 * for writing; has the old size or the new one; reads as before, but for what
 * is cut off; and no check finds anything.
 */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "check.h"
#include "crash.h"
#include "formats/core/units.h"
#include "formats/image.h"
#include "rng.h"
#include "tmpdir.h"

#define LOOK_LEN (6 * MiB) /* of the disk that is compared; zeroes behind */
#define IMAGES	 4u	   /* at each sync */
#define BASE	 "base.vhdx"

struct world {
	struct crashfile *c;
	struct hostfile *host;
	struct image *img;
	uint8_t *bytes;	   /* LOOK_LEN: what the disk reads, zeroes behind it */
	uint64_t old, new; /* sizes that it may have */
	struct rng rng;
	unsigned image_n;
	const char *step;
};

static struct image *open_on(struct hostfile *f, unsigned flags, struct err *e)
{
	const struct img_open how = {.format = "vhdx", .flags = flags};

	return img_open_host(host_ref(f), &how, e);
}

/* Old bytes; behind the smaller size zeroes, too. */
static bool is_right(const struct world *w, const uint8_t *buf, uint64_t len)
{
	uint64_t same = min_u64(min_u64(w->old, w->new), len);

	if (memcmp(buf, w->bytes, same))
		return false;
	for (uint64_t i = same; i < len; i++)
		if (buf[i] && buf[i] != w->bytes[i])
			return false;
	return true;
}

static int look_at(
    const struct world *w, struct hostfile *f, unsigned flags, struct err *e)
{
	CLEANUP_FREE uint8_t *buf = malloc(LOOK_LEN);
	struct image *img = open_on(f, flags, e);
	uint64_t size = img ? img_size(img) : 0;
	int rc = -1;

	assert_non_null(buf);
	if (!img)
		return -1;
	if (size != w->old && size != w->new)
		err_damaged(
		    e, "the disk has %llu bytes", (unsigned long long)size);
	else if (!img_pread(img, buf, min_u64(size, LOOK_LEN), 0, e))
		rc = is_right(w, buf, min_u64(size, LOOK_LEN))
			 ? 0
			 : err_damaged(e, "the disk reads otherwise");
	return img_close(img, e) ? -1 : rc;
}

static int check_one(const struct world *w, struct hostfile *f, struct err *e)
{
	struct image *img;
	struct img_check found;
	int rc;

	if (look_at(w, f, 0, e))
		return -1;
	img = open_on(f, IMG_O_CHECK, e);
	rc = img ? img_check(img, &found, NULL, NULL, e) : -1;
	img_drop(img);
	if (!rc && (found.corruptions || found.check_errors))
		rc = err_damaged(e, "corruptions");
	return rc || look_at(w, f, IMG_O_RDWR, e) || look_at(w, f, 0, e) ? -1
									 : 0;
}

static void on_sync(void *arg, struct crashfile *c, unsigned barrier)
{
	struct world *w = arg;

	for (unsigned i = 0; i < IMAGES; i++) {
		uint64_t seed = i < 2 ? i : rng_u64(&w->rng) | 2;
		struct err e = ERR_INIT;
		struct hostfile *f = crashfile_image(c, seed, &e);

		assert_no_error(&e);
		if (check_one(w, f, &e))
			fail_msg("%s: sync %u, crash seed %llu: %s", w->step,
			    barrier, (unsigned long long)seed, e.msg);
		host_put(f);
		w->image_n++;
	}
}

/* ---- steps ------------------------------------------------------------------
 */

static void write_some(struct world *w, struct image *img)
{
	struct err e = ERR_INIT;
	uint8_t piece[9000];

	for (unsigned i = 0; i < 12; i++) {
		uint64_t off = rng_below(
		    &w->rng, min_u64(img_size(img), LOOK_LEN) - sizeof piece);

		rng_fill(&w->rng, piece, sizeof piece);
		assert_ok(img_pwrite(img, piece, sizeof piece, off, 0, &e), &e);
		memcpy(w->bytes + off, piece, sizeof piece);
	}
	assert_ok(img_flush(img, &e), &e);
}

static void resize(struct world *w, uint64_t size)
{
	struct err e = ERR_INIT;

	w->old = img_size(w->img);
	w->new = size;
	crashfile_on_sync(w->c, on_sync, w);
	assert_ok(img_resize(w->img, size, IMG_PREALLOC_OFF, &e), &e);
	if (size < LOOK_LEN)
		memset(w->bytes + size, 0, LOOK_LEN - size);
	w->old = size;
	assert_ok(img_flush(w->img, &e), &e);
	crashfile_on_sync(w->c, NULL, NULL);
}

/* The image is opened anew, as the tool does it. */
static void reopen(struct world *w, unsigned flags)
{
	struct err e = ERR_INIT;

	assert_ok(img_close(w->img, &e), &e);
	w->img = open_on(w->host, IMG_O_RDWR | IMG_O_DISCARD | flags, &e);
	assert_no_error(&e);
}

static void rebase(struct world *w, const char *name)
{
	const struct img_rebase job = {
	    .img = w->img, .name = name, .format = name ? "vhdx" : NULL};
	struct err e = ERR_INIT;

	w->old = w->new = img_size(w->img);
	crashfile_on_sync(w->c, on_sync, w);
	assert_ok(img_rebase(&job, &e), &e);
	assert_ok(img_flush(w->img, &e), &e);
	crashfile_on_sync(w->c, NULL, NULL);
}

static void make_base(uint64_t size, struct rng *rng)
{
	struct err e = ERR_INIT;
	CLEANUP(options) struct options *o = options_new(&e);
	const struct img_open how = {.format = "vhdx", .flags = IMG_O_RDWR};
	uint8_t piece[100000];
	struct image *img;
	char text[24];

	snprintf(text, sizeof text, "%llu", (unsigned long long)size);
	assert_ok(options_set(o, "size", text, &e), &e);
	assert_ok(img_create(BASE, "vhdx", o, 0, &e), &e);
	img = img_open(BASE, &how, &e);
	assert_no_error(&e);
	rng_fill(rng, piece, sizeof piece);
	assert_ok(img_pwrite(img, piece, sizeof piece, MiB - 512, 0, &e), &e);
	assert_ok(img_close(img, &e), &e);
}

static void merge(struct world *w)
{
	const struct img_open how = {.format = "vhdx",
	    .flags = IMG_O_RDWR | IMG_O_DISCARD,
	    .writable_depth = 1};
	struct err e = ERR_INIT;
	struct img_merge job;

	assert_ok(img_close(w->img, &e), &e);
	w->img = img_open_host(host_ref(w->host), &how, &e);
	assert_no_error(&e);
	job = (struct img_merge){.top = w->img, .base = img_backing(w->img)};
	/* The base is another file, locked while it is written: one look at
	 * the top, when that is done. */
	assert_ok(img_merge(&job, &e), &e);
	reopen(w, 0);
	crashfile_on_sync(w->c, on_sync, w);
	assert_ok(host_sync(w->host, &e), &e);
	crashfile_on_sync(w->c, NULL, NULL);
}

/* ---- the test
 * ----------------------------------------------------------------- */

static void start(struct world *w, const char *options)
{
	struct err e = ERR_INIT;

	*w = (struct world){.rng = {7}, .bytes = calloc(1, LOOK_LEN)};
	assert_non_null(w->bytes);
	w->c = crashfile_new(&e);
	assert_no_error(&e);
	w->host = crashfile_host(w->c);
	crash_create(w->c, "vhdx", 3 * MiB, options, NULL);
	w->img = open_on(w->host, IMG_O_RDWR | IMG_O_DISCARD, &e);
	assert_no_error(&e);
	write_some(w, w->img);
}

static void end(struct world *w)
{
	struct err e = ERR_INIT;

	assert_ok(img_close(w->img, &e), &e);
	print_message("%u images\n", w->image_n);
	assert_true(w->image_n > 20);
	host_put(w->host);
	crashfile_free(w->c);
	free(w->bytes);
}

static void sizes(void **state)
{
	struct world w;

	start(&w, *state);
	w.step = "grow";
	resize(&w, 5 * MiB + 512);
	write_some(&w, w.img);
	w.step = "shrink";
	resize(&w, 2 * MiB + 1536);
	w.step = "grow again";
	resize(&w, 4 * MiB);
	write_some(&w, w.img);
	if (!strstr(*state, "fixed")) {
		w.step = "a longer BAT";
		resize(&w, 200 * GiB);
		write_some(&w, w.img);
		w.step = "much shorter";
		resize(&w, MiB + 512);
	}
	end(&w);
}

static void parents(void **state)
{
	struct world w;

	start(&w, *state);
	make_base(3 * MiB, &w.rng);
	w.step = "a parent";
	rebase(&w, BASE);
	reopen(&w, 0);
	write_some(&w, w.img);
	w.step = "a larger disk than the parent";
	resize(&w, 4 * MiB);
	/* The second time bits are left of the first. */
	w.step = "into the parent";
	for (unsigned i = 0; i < 2; i++) {
		merge(&w);
		write_some(&w, w.img);
	}
	w.step = "no parent";
	rebase(&w, NULL);
	end(&w);
	unlink(BASE);
}

int main(void)
{
	static char dynamic[] = "block_size=1M";
	static char fixed[] = "block_size=1M,subformat=fixed";
	const struct CMUnitTest tests[] = {
	    {.name = "sizes", .test_func = sizes, .initial_state = dynamic},
	    {.name = "sizes, fixed",
		.test_func = sizes,
		.initial_state = fixed},
	    {.name = "parents", .test_func = parents, .initial_state = dynamic},
	};

	tmpdir_enter();
	return cmocka_run_group_tests_name("vhdx", tests, NULL, NULL);
}
