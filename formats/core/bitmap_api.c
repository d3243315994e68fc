/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Dirty bitmaps as users see and change them: see image.h.
 *
 * A change closes the gate, changes what is in memory, and stores all of it.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "request.h"

#define GRANULARITY_BITS_MIN 9u
#define GRANULARITY_BITS_MAX 31u
#define DEFAULT_MIN	     4096u
#define DEFAULT_MAX	     65536u

bool img_can_bitmaps(const struct image *img)
{
	const struct bitmap_ops *ops = img->drv->bitmaps;

	return ops && ops->supported(img);
}

/* ---- looking ----------------------------------------------------------------
 */

static int copy_list(
    const struct bitmaps *s, struct img_bitmap **list, size_t *n, struct err *e)
{
	struct img_bitmap *out = calloc(s->n + 1, sizeof *out);

	if (!out)
		return err_nomem(e);
	*list = out;
	for (const struct bitmap *b = s->first; b; b = b->next, out++) {
		*out = (struct img_bitmap){.name = strdup(b->name),
		    .granularity = 1ull << b->granularity_bits,
		    .enabled = b->enabled,
		    .inconsistent = b->inconsistent};
		if (!out->name)
			return err_nomem(e);
		++*n;
	}
	return 0;
}

int img_bitmaps(
    struct image *img, struct img_bitmap **list, size_t *n, struct err *e)
{
	int rc;

	*list = NULL;
	*n = 0;
	mutex_lock(&img->bitmaps.lock);
	rc = bitmaps_list(img, e);
	if (!rc)
		rc = copy_list(&img->bitmaps, list, n, e);
	mutex_unlock(&img->bitmaps.lock);
	if (!rc)
		return 0;
	img_bitmaps_free(*list, *n);
	*list = NULL;
	*n = 0;
	return -1;
}

void img_bitmaps_free(struct img_bitmap *list, size_t n)
{
	for (size_t i = 0; i < n; i++)
		free(list[i].name);
	free(list);
}

static struct bitmap *look_up(const struct bitmaps *s, const char *name)
{
	struct bitmap *b = s->first;

	while (b && strcmp(b->name, name))
		b = b->next;
	return b;
}

/* One that there is; it may be inconsistent. */
static struct bitmap *find(struct image *img, const char *name, struct err *e)
{
	struct bitmap *b;

	if (bitmaps_list(img, e))
		return NULL;
	b = look_up(&img->bitmaps, name);
	if (!b)
		err_set(
		    e, ERR_USAGE, ENOENT, "Dirty bitmap '%s' not found", name);
	return b;
}

/* The same, with its bits. */
static struct bitmap *find_bits(
    struct image *img, const char *name, struct err *e)
{
	struct bitmap *b = find(img, name, e);

	return b && !bitmap_check_usable(b, e) && !bitmap_load(img, b, e)
		   ? b
		   : NULL;
}

int img_bitmap_map(struct image *img, const char *name, uint64_t off,
    uint64_t len, struct img_bitmap_extent *x, struct err *e)
{
	const struct bitmap *b;

	if (!len)
		return err_usage(e, "%s: empty block status range", img->name);
	gate_enter(&img->gate);
	mutex_lock(&img->bitmaps.lock);
	b = request_check(img, len, off, e) ? NULL : find_bits(img, name, e);
	if (b)
		x->dirty = dirtymap_run(b->bits, off, len, &x->len);
	mutex_unlock(&img->bitmaps.lock);
	gate_leave(&img->gate);
	return b ? 0 : -1;
}

/* ---- changing ---------------------------------------------------------------
 */

struct change {
	int (*make)(struct image *img, const struct change *c, struct err *e);
	const char *name;
	uint64_t granularity;
	bool enabled;
	const char *from;	     /* a bitmap of the same image ... */
	const struct dirtymap *more; /* ... or a copy of another one's */
};

static int make_and_store(struct image *img, void *arg, struct err *e)
{
	const struct change *c = arg;
	int rc;

	mutex_lock(&img->bitmaps.lock);
	rc = c->make(img, c, e);
	if (!rc)
		rc = bitmaps_store(img, e);
	mutex_unlock(&img->bitmaps.lock);
	return rc;
}

static uint64_t default_granularity(const struct image *img)
{
	return min_u64(max_u64(img->unit, DEFAULT_MIN), DEFAULT_MAX);
}

static int check_new(struct image *img, const struct change *c, struct err *e)
{
	if (!is_pow2(c->granularity) ||
	    c->granularity < 1ull << GRANULARITY_BITS_MIN ||
	    c->granularity > 1ull << GRANULARITY_BITS_MAX)
		return err_usage(
		    e, "Granularity must be power of 2 and at least 512");
	if (!*c->name)
		return err_usage(e, "Bitmap name cannot be empty");
	if (bitmaps_list(img, e))
		return -1;
	if (look_up(&img->bitmaps, c->name))
		return err_set(
		    e, ERR_USAGE, EEXIST, "Bitmap already exists: %s", c->name);
	if (!img->drv->bitmaps)
		return err_set(e, ERR_UNSUPPORTED, ENOTSUP,
		    "Can't store persistent bitmaps to %s: Operation not "
		    "supported",
		    img->name);
	if (!img->drv->bitmaps->may_add(
		img, c->name, log2_u64(c->granularity), e))
		return 0;
	err_prefix(e, "Can't make bitmap '%s' persistent in '%s': ", c->name,
	    img->name);
	return -1;
}

static int add(struct image *img, const struct change *c, struct err *e)
{
	struct dirtymap *bits;
	struct bitmap *b;

	if (check_new(img, c, e))
		return -1;
	bits = dirtymap_new(img_size(img), log2_u64(c->granularity), e);
	b = bits ? bitmaps_append(
		       &img->bitmaps, c->name, bits->granularity_bits, e)
		 : NULL;
	if (!b) {
		dirtymap_free(bits);
		return -1;
	}
	b->enabled = c->enabled;
	b->changed = true;
	b->bits = bits;
	return 0;
}

int img_bitmap_add(struct image *img, const char *name, uint64_t granularity,
    bool enabled, struct err *e)
{
	struct change c = {.make = add,
	    .name = name,
	    .granularity = granularity ? granularity : default_granularity(img),
	    .enabled = enabled};

	return request_alone(img, make_and_store, &c, e);
}

static int remove_it(struct image *img, const struct change *c, struct err *e)
{
	struct bitmaps *s = &img->bitmaps;
	struct bitmap **p = &s->first, *b = find(img, c->name, e);

	if (!b)
		return -1;
	while (*p != b)
		p = &(*p)->next;
	*p = b->next;
	if (!b->next)
		s->end = p;
	s->n--;
	s->changed = true;
	bitmap_free(b);
	return 0;
}

int img_bitmap_remove(struct image *img, const char *name, struct err *e)
{
	struct change c = {.make = remove_it, .name = name};

	return request_alone(img, make_and_store, &c, e);
}

static int clear(struct image *img, const struct change *c, struct err *e)
{
	struct bitmap *b = find_bits(img, c->name, e);

	if (!b)
		return -1;
	dirtymap_clear(b->bits);
	b->changed = true;
	return 0;
}

int img_bitmap_clear(struct image *img, const char *name, struct err *e)
{
	struct change c = {.make = clear, .name = name};

	return request_alone(img, make_and_store, &c, e);
}

static int enable(struct image *img, const struct change *c, struct err *e)
{
	struct bitmap *b = find(img, c->name, e);

	if (!b || bitmap_check_usable(b, e))
		return -1;
	img->bitmaps.changed |= b->enabled != c->enabled;
	b->enabled = c->enabled;
	return 0;
}

int img_bitmap_enable(
    struct image *img, const char *name, bool enabled, struct err *e)
{
	struct change c = {.make = enable, .name = name, .enabled = enabled};

	return request_alone(img, make_and_store, &c, e);
}

static int merge_bits(struct image *img, const struct change *c,
    const struct dirtymap *more, struct err *e)
{
	struct bitmap *b = find_bits(img, c->name, e);

	if (!b)
		return -1;
	if (b->bits->size != more->size)
		return err_usage(e,
		    "Bitmaps are of different sizes (destination size is %llu, "
		    "source size is %llu) and can't be merged",
		    (unsigned long long)b->bits->size,
		    (unsigned long long)more->size);
	b->changed = true;
	return dirtymap_merge(b->bits, more, e) ? image_fail(img, e) : 0;
}

static int merge_own(struct image *img, const struct change *c, struct err *e)
{
	const struct bitmap *from = find_bits(img, c->from, e);

	return from ? merge_bits(img, c, from->bits, e) : -1;
}

static int merge_copy(struct image *img, const struct change *c, struct err *e)
{
	return merge_bits(img, c, c->more, e);
}

static struct dirtymap *copy_bits(
    struct image *img, const char *name, struct err *e)
{
	struct dirtymap *copy = NULL;
	const struct bitmap *b;

	gate_enter(&img->gate);
	mutex_lock(&img->bitmaps.lock);
	b = find_bits(img, name, e);
	if (b)
		copy = dirtymap_copy(b->bits, e);
	mutex_unlock(&img->bitmaps.lock);
	gate_leave(&img->gate);
	return copy;
}

static int merge_other(struct image *img, const char *name, struct image *src,
    const char *src_name, struct err *e)
{
	struct dirtymap *more = copy_bits(src, src_name, e);
	struct change c = {.make = merge_copy, .name = name, .more = more};
	int rc = more ? request_alone(img, make_and_store, &c, e) : -1;

	dirtymap_free(more);
	return rc;
}

/*
 * Two bitmaps of one image are merged in one step: a resize in between would
 * leave them with different sizes.
 */
int img_bitmap_merge(struct image *img, const char *name, struct image *src,
    const char *src_name, struct err *e)
{
	struct change own = {.make = merge_own, .name = name, .from = src_name};

	return src == img ? request_alone(img, make_and_store, &own, e)
			  : merge_other(img, name, src, src_name, e);
}
