/* SPDX-License-Identifier: BSD-3-Clause */
/* Copying dirty bitmaps: see bitmaps.h. */
#include "bitmaps.h"

#include "msg.h"

static int check_one(
    const struct img_bitmap *b, bool skip_broken, struct err *e)
{
	if (!b->inconsistent)
		return 0;
	if (skip_broken) {
		msg_warning("Skipping inconsistent bitmap '%s'", b->name);
		return 0;
	}
	err_usage(e, "Cannot copy inconsistent bitmap '%s'", b->name);
	err_hint(e,
	    "Try --skip-broken-bitmaps, or use '%s bitmap --remove' "
	    "to delete it",
	    msg_tool);
	return -1;
}

int bitmaps_choose(
    struct bitmaps *b, struct image *src, bool skip_broken, struct err *e)
{
	int rc = 0;

	if (!img_can_bitmaps(src))
		return err_usage(e, "Source lacks bitmap support");
	if (img_bitmaps(src, &b->item, &b->n, e))
		return -1;
	for (size_t i = 0; i < b->n && !rc; i++)
		rc = check_one(&b->item[i], skip_broken, e);
	return rc;
}

static int copy_one(const struct img_bitmap *b, struct image *dst,
    struct image *src, struct err *e)
{
	struct err ignored = ERR_INIT;

	if (img_bitmap_add(dst, b->name, b->granularity, b->enabled, e)) {
		err_prefix(e, "Failed to create bitmap %s: ", b->name);
		return -1;
	}
	if (!img_bitmap_merge(dst, b->name, src, b->name, e))
		return 0;
	err_prefix(e, "Failed to populate bitmap %s: ", b->name);
	img_bitmap_remove(dst, b->name, &ignored);
	return -1;
}

int bitmaps_copy(const struct bitmaps *b, struct image *dst, struct image *src,
    struct err *e)
{
	if (!img_can_bitmaps(dst))
		return err_usage(e,
		    "Format driver '%s' does not support bitmaps",
		    img_format(dst));
	for (size_t i = 0; i < b->n; i++)
		if (!b->item[i].inconsistent &&
		    copy_one(&b->item[i], dst, src, e))
			return -1;
	return 0;
}

void bitmaps_clear(struct bitmaps *b)
{
	img_bitmaps_free(b->item, b->n);
}
