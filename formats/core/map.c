/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The map of a chain: see map.h; and the block status that users see, which
 * refines it by the holes of the host file and merges neighbours.
 */
#include <errno.h>
#include <string.h>

#include "drv.h"
#include "map.h"
#include "request.h"

int layer_map(struct image *layer, uint64_t guest, uint64_t len,
    struct extent *x, struct err *e)
{
	int rc;

	rwlock_shared(&layer->meta);
	rc = drv_map(layer, guest, len, x, e);
	rwlock_shared_end(&layer->meta);
	return rc;
}

int chain_map(struct image *img, uint64_t guest, uint64_t len,
    struct chain_extent *c, struct err *e)
{
	*c = (struct chain_extent){.layer = img};
	for (;;) {
		struct image *below = c->layer->backing;
		uint64_t size;

		if (layer_map(c->layer, guest, len, &c->x, e))
			return -1;
		if (c->x.kind != EXT_HOLE || !below)
			return 0;
		len = c->x.len;
		size = img_size(below);
		c->layer = below;
		c->depth++;
		if (guest >= size) {
			c->short_backing = true;
			return 0;
		}
		len = min_u64(len, size - guest);
	}
}

/* ---- block status ----------------------------------------------------- */

/*
 * No layer has it.  What answers is the lowest layer that was asked; where that
 * one is too short to be asked, the one above it, which hides what is below.
 */
static void from_hole(const struct chain_extent *c, struct img_extent *out)
{
	out->zero = true;
	out->depth = c->depth - c->short_backing;
}

/*
 * How far does the host file agree that there are zeroes, or data?  Formats
 * with units are refined by whole units: a unit that was written in part is
 * data.  Where the file has the disk as it is, holes are told as they are.
 */
static uint64_t refined_len(
    const struct chain_extent *c, const struct host_extent *h, bool *zero)
{
	bool exact = c->layer->refines || c->layer->placed;
	uint64_t unit = exact ? 1 : c->layer->unit;
	uint64_t in_unit = c->x.guest % unit, len = h->len;

	*zero = h->zero && !in_unit && (len >= unit || len == c->x.len);
	if (*zero)
		return len == c->x.len ? len : round_down(len, unit);
	if (h->zero)
		return min_u64(c->x.len, unit - in_unit);
	return min_u64(c->x.len, round_up(in_unit + len, unit) - in_unit);
}

static int from_data(
    const struct chain_extent *c, struct img_extent *out, struct err *e)
{
	const struct extent *x = &c->x;
	struct host_extent h = {.len = x->len, .hole = true, .zero = true};

	out->present = out->data = true;
	if (x->flags & EXT_F_CRYPT)
		return 0;
	out->has_offset = true;
	out->offset = x->host;
	out->filename = x->file->name;
	/* Past the end of the file it reads as zeroes. */
	if (x->host < host_size(x->file) &&
	    host_map(x->file, x->host, x->len, &h, e))
		return -1;
	out->len = refined_len(c, &h, &out->zero);
	if (c->layer->refines) {
		out->data = !h.hole && !h.nowhere;
		out->present = out->has_offset = !h.nowhere;
		out->depth += h.depth;
	}
	return 0;
}

static int status(
    const struct chain_extent *c, struct img_extent *out, struct err *e)
{
	*out = (struct img_extent){
	    .start = c->x.guest, .len = c->x.len, .depth = c->depth};
	switch (c->x.kind) {
	case EXT_HOLE:
		from_hole(c, out);
		return 0;
	case EXT_ZERO:
		out->present = out->zero = true;
		out->has_offset = c->x.flags & EXT_F_SPACE;
		if (out->has_offset) {
			out->offset = c->x.host;
			out->filename = c->x.file->name;
		}
		return 0;
	case EXT_PACKED:
		out->present = out->data = out->packed = true;
		return 0;
	case EXT_DATA:
		return from_data(c, out, e);
	}
	return 0;
}

/* Does b go on where a ends, in the same way? */
static bool continues(const struct img_extent *a, const struct img_extent *b)
{
	return a->depth == b->depth && a->present == b->present &&
	       a->zero == b->zero && a->data == b->data &&
	       a->packed == b->packed && a->has_offset == b->has_offset &&
	       (!a->has_offset || (a->filename == b->filename &&
				      a->offset + a->len == b->offset));
}

int chain_is_zero(
    struct image *img, uint64_t guest, uint64_t len, struct err *e)
{
	while (len) {
		struct chain_extent c;
		struct img_extent x;

		if (chain_map(img, guest, len, &c, e) || status(&c, &x, e))
			return -1;
		if (!x.zero)
			return 0;
		guest += x.len;
		len -= x.len;
	}
	return 1;
}

typedef int one_extent(struct image *img, uint64_t off, uint64_t len,
    struct img_extent *x, struct err *e);

static int one_of_chain(struct image *img, uint64_t off, uint64_t len,
    struct img_extent *x, struct err *e)
{
	struct chain_extent c;

	return chain_map(img, off, len, &c, e) ? -1 : status(&c, x, e);
}

static int one_of_layer(struct image *img, uint64_t off, uint64_t len,
    struct img_extent *x, struct err *e)
{
	struct chain_extent c = {.layer = img};

	if (layer_map(img, off, len, &c.x, e))
		return -1;
	return status(&c, x, e);
}

static int merged(one_extent *one, struct image *img, uint64_t off,
    uint64_t len, struct img_extent *x, struct err *e)
{
	if (one(img, off, len, x, e))
		return -1;
	while (x->len < len) {
		struct img_extent next;

		if (one(img, off + x->len, len - x->len, &next, e))
			return -1;
		if (!continues(x, &next))
			return 0;
		x->len += next.len;
	}
	return 0;
}

static int status_request(one_extent *one, struct image *img, uint64_t off,
    uint64_t len, struct img_extent *x, struct err *e)
{
	unsigned pin;
	int rc;

	if (!len)
		return err_usage(e, "%s: empty block status range", img->name);
	if (request_begin(img, len, off, &pin, e))
		return -1;
	rc = merged(one, img, off, len, x, e);
	request_leave(img, pin);
	return rc;
}

int img_map(struct image *img, uint64_t off, uint64_t len, struct img_extent *x,
    struct err *e)
{
	return status_request(one_of_chain, img, off, len, x, e);
}

int img_map_layer(struct image *img, uint64_t off, uint64_t len,
    struct img_extent *x, struct err *e)
{
	return status_request(one_of_layer, img, off, len, x, e);
}
