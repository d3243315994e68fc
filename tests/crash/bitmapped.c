/* SPDX-License-Identifier: BSD-3-Clause */
/* A disk with dirty bitmaps: see bitmapped.h. */
#include <stdio.h>
#include <stdlib.h>

#include "bitmapped.h"
#include "check.h"
#include "formats/core/units.h"

static void bitmap_name(char name[8], size_t i)
{
	snprintf(name, 8, "b%zu", i);
}

/* ---- what is found ----------------------------------------------------------
 */

static uint8_t *read_disk(struct image *img, struct err *e)
{
	uint8_t *buf = calloc(1, BITMAPPED_END);

	assert_non_null(buf);
	if (!img_pread(img, buf, img_size(img), 0, e))
		return buf;
	free(buf);
	return NULL;
}

static void expect_covers(struct image *img, const char *name,
    const uint8_t *base, const uint8_t *now)
{
	struct img_bitmap_extent x = {0};
	struct err e = ERR_INIT;

	for (uint64_t off = 0; off < img_size(img); off += x.len) {
		assert_ok(
		    img_bitmap_map(img, name, off, img_size(img) - off, &x, &e),
		    &e);
		if (!x.dirty)
			assert_memory_equal(base + off, now + off, x.len);
	}
}

static void judge_bitmaps(
    struct bitmapped *w, struct image *img, const uint8_t *now)
{
	bool found[BITMAPPED_N] = {false};
	struct err e = ERR_INIT;
	struct img_bitmap *list;
	size_t n;

	assert_ok(img_bitmaps(img, &list, &n, &e), &e);
	for (size_t i = 0; i < n; i++) {
		size_t ix = (size_t)(list[i].name[1] - '0');

		found[ix] = true;
		if (list[i].inconsistent) {
			assert_true(w->may_void);
			w->void_n++;
			continue;
		}
		if (!w->gap[ix])
			expect_covers(img, list[i].name, w->base[ix], now);
		w->clean_n++;
	}
	for (size_t i = 0; i < BITMAPPED_N; i++)
		if (w->presence[i] != BITMAP_EITHER)
			assert_int_equal(found[i], w->presence[i]);
	img_bitmaps_free(list, n);
}

void bitmapped_judge(struct bitmapped *w, struct hostfile *f)
{
	struct image *img;
	struct err e = ERR_INIT;
	uint8_t *now;

	crash_check(f, "qcow2");
	img = crash_must_open(f, "qcow2", 0);
	if (w->must)
		assert_true(
		    img_size(img) == w->size[0] || img_size(img) == w->size[1]);
	now = read_disk(img, &e);
	assert_no_error(&e);
	judge_bitmaps(w, img, now);
	free(now);
	img_drop(img);
}

void bitmapped_go_on(struct hostfile *f)
{
	struct image *img = crash_must_open(f, "qcow2", IMG_O_RDWR);
	struct img_bitmap *before, *after;
	struct err e = ERR_INIT;
	size_t n, after_n;

	assert_ok(img_bitmaps(img, &before, &n, &e), &e);
	assert_ok(img_pwrite(img, "go on", 5, BITMAPPED_START / 4, 0, &e), &e);
	assert_ok(img_close(img, &e), &e);
	img = crash_must_open(f, "qcow2", IMG_O_RDWR);
	assert_ok(img_bitmaps(img, &after, &after_n, &e), &e);
	assert_int_equal(n, after_n);
	for (size_t i = 0; i < n; i++) {
		assert_int_equal(before[i].inconsistent, after[i].inconsistent);
		assert_ok(img_bitmap_remove(img, after[i].name, &e), &e);
	}
	img_bitmaps_free(before, n);
	img_bitmaps_free(after, n);
	assert_ok(img_close(img, &e), &e);
	crash_check(f, "qcow2");
}

/* ---- what is done -----------------------------------------------------------
 */

/* 0, or -1 where that may be. */
static int done(const struct bitmapped *w, int rc, const struct err *e)
{
	if (rc && w->must)
		fail_msg("unexpected error: %s", e->msg);
	return rc;
}

static void random_write(struct bitmapped *w)
{
	uint64_t off = rng_below(&w->rng, img_size(w->img));
	uint64_t len = rng_below(&w->rng, 20000);
	struct err e = ERR_INIT;
	uint8_t buf[20000];
	int rc;

	len = min_u64(len, img_size(w->img) - off);
	w->may_void = true;
	rng_fill(&w->rng, buf, len);
	if (rng_below(&w->rng, 4))
		rc = img_pwrite(w->img, buf, len, off, 0, &e);
	else
		rc = img_zero(w->img, len, off, 0, &e);
	done(w, rc, &e);
}

static void flush(struct bitmapped *w)
{
	struct err e = ERR_INIT;

	done(w, img_flush(w->img, &e), &e);
}

/* The disk as it is now is where the bitmap begins. */
static int take_base(struct bitmapped *w, size_t i)
{
	struct err e = ERR_INIT;
	uint8_t *now = read_disk(w->img, &e);

	if (done(w, now ? 0 : -1, &e))
		return -1;
	free(w->base[i]);
	w->base[i] = now;
	return 0;
}

static void add_or_remove(struct bitmapped *w, size_t i)
{
	enum bitmap_presence after =
	    w->presence[i] == BITMAP_PRESENT ? BITMAP_ABSENT : BITMAP_PRESENT;
	struct err e = ERR_INIT;
	char name[8];
	int rc;

	bitmap_name(name, i);
	if (after == BITMAP_PRESENT && take_base(w, i))
		return;
	w->presence[i] = BITMAP_EITHER;
	if (after == BITMAP_PRESENT)
		rc = img_bitmap_add(
		    w->img, name, w->scene->granularity, true, &e);
	else
		rc = img_bitmap_remove(w->img, name, &e);
	if (done(w, rc, &e))
		return;
	w->presence[i] = after;
	w->gap[i] = false;
	w->may_void = false;
}

static void clear(struct bitmapped *w, size_t i)
{
	struct err e = ERR_INIT;
	char name[8];

	bitmap_name(name, i);
	if (w->presence[i] != BITMAP_PRESENT || take_base(w, i))
		return;
	if (done(w, img_bitmap_clear(w->img, name, &e), &e))
		return;
	if (!done(w, img_bitmap_enable(w->img, name, true, &e), &e))
		w->gap[i] = w->may_void = false;
}

static void disable(struct bitmapped *w, size_t i)
{
	struct err e = ERR_INIT;
	char name[8];

	bitmap_name(name, i);
	if (w->presence[i] != BITMAP_PRESENT)
		return;
	w->gap[i] = true;
	if (!done(w, img_bitmap_enable(w->img, name, false, &e), &e))
		w->may_void = false;
}

static void merge(struct bitmapped *w, size_t i, size_t from)
{
	struct err e = ERR_INIT;
	char name[8], from_name[8];

	bitmap_name(name, i);
	bitmap_name(from_name, from);
	if (w->presence[i] != BITMAP_PRESENT ||
	    w->presence[from] != BITMAP_PRESENT)
		return;
	if (!done(w, img_bitmap_merge(w->img, name, w->img, from_name, &e), &e))
		w->may_void = false;
}

static void resize(struct bitmapped *w)
{
	uint64_t size =
	    SECTOR_LEN *
	    (BITMAPPED_START / SECTOR_LEN +
		rng_below(
		    &w->rng, (BITMAPPED_END - BITMAPPED_START) / SECTOR_LEN));
	struct err e = ERR_INIT;

	w->may_void = true;
	w->size[1] = size;
	if (done(w, img_resize(w->img, size, IMG_PREALLOC_OFF, &e), &e))
		return;
	w->may_void = false;
	w->size[0] = size;
	for (size_t i = 0; i < BITMAPPED_N; i++)
		if (w->base[i])
			memset(w->base[i] + size, 0, BITMAPPED_END - size);
}

static void step(struct bitmapped *w)
{
	size_t i = rng_below(&w->rng, BITMAPPED_N);

	switch (rng_below(&w->rng, 16)) {
	case 0:
	case 1:
		add_or_remove(w, i);
		break;
	case 2:
		clear(w, i);
		break;
	case 3:
		merge(w, i, rng_below(&w->rng, BITMAPPED_N));
		break;
	case 4:
		resize(w);
		break;
	case 5:
		flush(w);
		break;
	case 6:
		disable(w, i);
		break;
	default:
		random_write(w);
		break;
	}
}

void bitmapped_session(struct bitmapped *w, unsigned step_n)
{
	struct err e = ERR_INIT;

	w->img = crash_open(w->file, "qcow2", IMG_O_RDWR, &e);
	if (done(w, w->img ? 0 : -1, &e))
		return;
	for (unsigned i = 0; i < step_n; i++)
		step(w);
	if (!done(w, img_close(w->img, &e), &e))
		w->may_void = false;
}

void bitmapped_init(
    struct bitmapped *w, const struct bitmapped_scene *scene, uint64_t seed)
{
	*w = (struct bitmapped){.scene = scene,
	    .rng = {.state = seed},
	    .must = true,
	    .size = {BITMAPPED_START, BITMAPPED_START}};
}

void bitmapped_clear(struct bitmapped *w)
{
	for (size_t i = 0; i < BITMAPPED_N; i++)
		free(w->base[i]);
	host_put(w->file);
}
