/* SPDX-License-Identifier: BSD-3-Clause */
/* Tracking and storing dirty bitmaps: see bitmap.h. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "../driver.h"
#include "bitmap.h"

/* ---- the list --------------------------------------------------------------
 */

void bitmaps_init(struct bitmaps *s)
{
	mutex_init(&s->lock);
	s->first = NULL;
	s->end = &s->first;
}

void bitmap_free(struct bitmap *b)
{
	dirtymap_free(b->bits);
	free(b->stored);
	free(b->name);
	free(b);
}

static void free_list(struct bitmaps *s)
{
	struct bitmap *next;

	for (struct bitmap *b = s->first; b; b = next) {
		next = b->next;
		bitmap_free(b);
	}
	s->first = NULL;
	s->end = &s->first;
	s->n = 0;
}

void bitmaps_destroy(struct bitmaps *s)
{
	free_list(s);
	mutex_destroy(&s->lock);
}

struct bitmap *bitmaps_append(struct bitmaps *s, const char *name,
    unsigned granularity_bits, struct err *e)
{
	struct bitmap *b = calloc(1, sizeof *b);

	if (b)
		b->name = strdup(name);
	if (!b || !b->name) {
		free(b);
		err_nomem(e);
		return NULL;
	}
	b->granularity_bits = granularity_bits;
	*s->end = b;
	s->end = &b->next;
	s->n++;
	return b;
}

int bitmaps_list(struct image *img, struct err *e)
{
	struct bitmaps *s = &img->bitmaps;

	if (s->listed || !img->drv->bitmaps)
		return 0;
	if (img->drv->bitmaps->list(img, e)) {
		free_list(s);
		return -1;
	}
	s->listed = true;
	return 0;
}

int bitmap_load(struct image *img, struct bitmap *b, struct err *e)
{
	if (b->bits || !img->drv->bitmaps->load(img, b, e))
		return 0;
	err_prefix(e, "%s: bitmap '%s': ", img->name, b->name);
	return -1;
}

int bitmap_check_usable(const struct bitmap *b, struct err *e)
{
	if (!b->inconsistent)
		return 0;
	err_set(e, ERR_DAMAGED, EINVAL,
	    "Bitmap '%s' is inconsistent and cannot be used", b->name);
	err_hint(e, "Try 'bitmap --remove' to delete it.");
	return -1;
}

/* What the next write has to do, with the list as it is. */
static void choose_tracking(struct bitmaps *s)
{
	enum tracking t = TRACK_NONE;

	for (const struct bitmap *b = s->first; b; b = b->next) {
		if (b->enabled && !b->marked)
			t = TRACK_FIRST;
	}
	atomic_store(&s->tracking, t);
}

int bitmaps_start(struct image *img, struct err *e)
{
	struct bitmaps *s = &img->bitmaps;
	int rc;

	mutex_lock(&s->lock);
	rc = bitmaps_list(img, e);
	if (!rc)
		choose_tracking(s);
	mutex_unlock(&s->lock);
	return rc;
}

int bitmaps_any(struct image *img, struct err *e)
{
	struct bitmaps *s = &img->bitmaps;
	int rc;

	mutex_lock(&s->lock);
	rc = bitmaps_list(img, e) ? -1 : s->n != 0;
	mutex_unlock(&s->lock);
	return rc;
}

/* ---- tracking --------------------------------------------------------------
 */

/* The marks of the file become those of the list. */
static int mark(struct image *img, struct err *e)
{
	return img->drv->bitmaps->mark(img, e) ? image_fail(img, e) : 0;
}

static int begin_tracking(struct image *img, struct err *e)
{
	struct bitmaps *s = &img->bitmaps;
	struct bitmap *b;

	for (b = s->first; b; b = b->next)
		if (b->enabled && !b->inconsistent && bitmap_load(img, b, e))
			return -1;
	for (b = s->first; b; b = b->next)
		b->marked |= b->enabled;
	if (mark(img, e))
		return -1;
	atomic_store(&s->tracking, TRACK_ON);
	return 0;
}

static int set_all(struct bitmaps *s, uint64_t len, uint64_t off, struct err *e)
{
	for (struct bitmap *b = s->first; b; b = b->next) {
		if (!b->enabled || b->inconsistent)
			continue;
		b->changed = true;
		if (dirtymap_set(b->bits, off, len, e))
			return -1;
	}
	return 0;
}

int bitmaps_track(struct image *img, uint64_t len, uint64_t off, struct err *e)
{
	struct bitmaps *s = &img->bitmaps;
	int rc = 0;

	mutex_lock(&s->lock);
	if (atomic_load(&s->tracking) == TRACK_FIRST)
		rc = begin_tracking(img, e);
	if (!rc)
		rc = set_all(s, len, off, e);
	mutex_unlock(&s->lock);
	return rc;
}

/* ---- storing ---------------------------------------------------------------
 */

static bool is_newer(const struct bitmaps *s)
{
	bool newer = s->changed;

	for (const struct bitmap *b = s->first; b; b = b->next)
		newer |= b->changed || (b->marked && !b->inconsistent);
	return newer;
}

int bitmaps_store(struct image *img, struct err *e)
{
	struct bitmaps *s = &img->bitmaps;

	if (!is_newer(s))
		return 0;
	if (img->drv->bitmaps->store(img, e))
		return image_fail(img, e);
	s->changed = false;
	for (struct bitmap *b = s->first; b; b = b->next) {
		b->changed = false;
		b->marked &= b->inconsistent;
	}
	choose_tracking(s);
	return 0;
}

int bitmaps_finish(struct image *img, struct err *e)
{
	struct bitmaps *s = &img->bitmaps;
	int rc;

	mutex_lock(&s->lock);
	rc = bitmaps_store(img, e);
	mutex_unlock(&s->lock);
	return rc;
}

/* ---- resizing --------------------------------------------------------------
 */

/* Every bitmap is for a disk of the old size: all of them are marked. */
static int prepare_resize(struct image *img, uint64_t size, struct err *e)
{
	struct bitmaps *s = &img->bitmaps;

	if (!s->n)
		return 0;
	if (img->drv->bitmaps->may_resize(img, size, e))
		return -1;
	for (struct bitmap *b = s->first; b; b = b->next)
		if (bitmap_check_usable(b, e) || bitmap_load(img, b, e))
			return -1;
	for (struct bitmap *b = s->first; b; b = b->next)
		b->marked = true;
	return mark(img, e);
}

int bitmaps_resize_begin(struct image *img, uint64_t size, struct err *e)
{
	struct bitmaps *s = &img->bitmaps;
	int rc;

	mutex_lock(&s->lock);
	rc = prepare_resize(img, size, e);
	mutex_unlock(&s->lock);
	return rc;
}

static int resize_all(struct image *img, uint64_t asked, struct err *e)
{
	struct bitmaps *s = &img->bitmaps;
	uint64_t size = img_size(img);

	/* What was to be cut off may be lost, if the disk has it still. */
	if (asked < size && set_all(s, size - asked, asked, e))
		return image_fail(img, e);
	for (struct bitmap *b = s->first; b; b = b->next) {
		b->changed = true;
		if (dirtymap_resize(b->bits, size, e))
			return image_fail(img, e);
	}
	return bitmaps_store(img, e);
}

int bitmaps_resize_end(struct image *img, uint64_t size, struct err *e)
{
	struct bitmaps *s = &img->bitmaps;
	int rc;

	mutex_lock(&s->lock);
	rc = resize_all(img, size, e);
	mutex_unlock(&s->lock);
	return rc;
}
