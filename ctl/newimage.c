/* SPDX-License-Identifier: BSD-3-Clause */
/* A new image with the content of others: see newimage.h. */
#include "newimage.h"

#include <string.h>

int newimage_finish(struct image *img, enum img_cache cache, struct err *e)
{
	int rc = cache == IMG_CACHE_UNSAFE ? 0 : img_flush(img, e);

	return img_close(img, e) ? -1 : rc;
}

int newimage_fill(
    const struct img_copy *copy, const struct bitmaps *bitmaps, struct err *e)
{
	if (img_copy(copy, e))
		return -1;
	return bitmaps ? bitmaps_copy(bitmaps, copy->dst, copy->src[0], e) : 0;
}

/* Of the options that it is made with, those that it is opened with too. */
static struct options *keys(const struct options *all, struct err *e)
{
	struct options *o = options_new(e);
	const char *key, *value;

	for (unsigned i = 0; o && options_at(all, i, &key, &value); i++) {
		const char *dot = strrchr(key, '.');

		if (!strcmp(dot ? dot + 1 : key, "key-secret") &&
		    options_set(o, key, value, e)) {
			options_free(o);
			return NULL;
		}
	}
	return o;
}

static int fill(struct newimage *n, const char *path, struct err *e)
{
	CLEANUP(options) struct options *o = keys(n->options, e);
	const struct img_open how = {.format = n->format->name,
	    .flags = IMG_O_RDWR,
	    .cache = n->cache,
	    .options = o};

	if (!o)
		return -1;
	n->copy.dst = img_open(path, &how, e);
	if (!n->copy.dst)
		return -1;
	if (!newimage_fill(&n->copy, n->bitmaps, e))
		return newimage_finish(n->copy.dst, n->cache, e);
	img_drop(n->copy.dst);
	return -1;
}

int newimage_target(struct target *t, const char *name, const char *format,
    struct options *options, struct err *e)
{
	return img_create_makes_files(format, options)
		   ? target_begin_many(t, name, format, e)
		   : target_begin(t, name, e);
}

static int begin(struct newimage *n, struct target *t, struct err *e)
{
	const char *format = n->format->name;

	if (!img_create_prepare(n->name, format, n->options, 0, e) &&
	    !newimage_target(t, n->name, format, n->options, e)) {
		if (!img_create_as(
			target_path(t), n->name, format, n->options, 0, e))
			return 0;
		target_name_in(t, e);
		target_abandon(t);
	}
	err_prefix(e, "%s: %s: ", n->name, n->failure);
	return -1;
}

/* A file that is made now reads as zeroes, unless its content is elsewhere, or
 * encrypted in place. */
static bool is_zero(const struct newimage *n, const struct target *t)
{
	return t->temp && !n->format->born_random &&
	       !options_has(n->options, "backing_file") &&
	       !options_has(n->options, "data_file");
}

int newimage_make(struct newimage *n, struct err *e)
{
	struct target t;

	if (begin(n, &t, e))
		return -1;
	if (is_zero(n, &t))
		n->copy.flags |= IMG_COPY_TARGET_ZERO;
	if (!fill(n, target_path(&t), e))
		return target_commit(&t, n->cache != IMG_CACHE_UNSAFE, e);
	target_name_in(&t, e);
	if (t.many && !t.temp)
		img_remove(n->name, t.many);
	target_abandon(&t);
	return -1;
}
