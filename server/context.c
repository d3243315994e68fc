/* SPDX-License-Identifier: BSD-3-Clause */
/* Metadata contexts: see context.h. */
#include "core/units.h"
#include "image.h"

#include "context.h"
#include "export.h"
#include "nbd.h"

/* imgd:map, as docs/nbd-map.md describes it. */
#define MAP_DATA	 0x01u
#define MAP_ZERO	 0x02u
#define MAP_PRESENT	 0x04u
#define MAP_PACKED	 0x08u
#define MAP_OFFSET	 0x10u
#define MAP_DEPTH_SHIFT	 5
#define MAP_DEPTH_MAX	 0x7ffu
#define MAP_OFFSET_SHIFT 16
#define MAP_OFFSET_MAX	 (UINT64_MAX >> MAP_OFFSET_SHIFT)

/* qemu:dirty-bitmap:NAME */
#define BITMAP_DIRTY 0x1u

enum { ALLOCATION, DEPTH, MAP };

static const char *const names[CONTEXT_FIXED] = {
    [ALLOCATION] = "base:allocation",
    [DEPTH] = "qemu:allocation-depth",
    [MAP] = "imgd:map",
};

const char *context_name(const struct export *x, unsigned i)
{
	if (i < CONTEXT_FIXED)
		return i == DEPTH && !x->depth ? NULL : names[i];
	i -= CONTEXT_FIXED;
	return i < x->bitmap_n ? x->bitmap[i].context : NULL;
}

static uint64_t allocation(const struct img_extent *m)
{
	return (m->data ? 0 : NBD_STATE_HOLE) | (m->zero ? NBD_STATE_ZERO : 0);
}

static bool has_layer(struct image *img, unsigned layer)
{
	for (; img && layer; layer--)
		img = img_backing(img);
	return img;
}

/*
 * Layers count from 1; 0 is nowhere.  Where nothing was found although there is
 * a layer further down, that one was too short to be asked, and the reference
 * says that the zeroes come from there.
 */
static uint64_t depth(struct image *img, const struct img_extent *m)
{
	if (m->present)
		return m->depth + 1u;
	return has_layer(img, m->depth + 1) ? m->depth + 2u : 0;
}

static void map_status(
    const struct img_extent *m, bool wide, struct context_extent *out)
{
	out->status = (m->data ? MAP_DATA : 0) | (m->zero ? MAP_ZERO : 0) |
		      (m->present ? MAP_PRESENT : 0) |
		      (m->packed ? MAP_PACKED : 0) |
		      min_u64(m->depth, MAP_DEPTH_MAX) << MAP_DEPTH_SHIFT;
	if (!wide || !m->has_offset ||
	    !range_ok(m->offset, m->len, MAP_OFFSET_MAX))
		return;
	out->status |= MAP_OFFSET | m->offset << MAP_OFFSET_SHIFT;
	out->step = 1ull << MAP_OFFSET_SHIFT;
}

/* A bitmap of a backing image ends where that does. */
static int bitmap_extent(const struct export_bitmap *b, uint64_t guest,
    uint64_t len, struct context_extent *out, struct err *e)
{
	uint64_t size = img_size(b->img);
	struct img_bitmap_extent m;

	if (guest >= size) {
		out->len = len;
		return 0;
	}
	if (img_bitmap_map(
		b->img, b->name, guest, min_u64(len, size - guest), &m, e))
		return -1;
	out->len = m.len;
	out->status = m.dirty ? BITMAP_DIRTY : 0;
	return 0;
}

int context_extent(const struct export *x, unsigned i, uint64_t off,
    uint64_t len, bool wide, struct context_extent *out, struct err *e)
{
	struct img_extent m;

	*out = (struct context_extent){0};
	if (i >= CONTEXT_FIXED)
		return bitmap_extent(
		    &x->bitmap[i - CONTEXT_FIXED], x->start + off, len, out, e);
	if (img_map(x->img, x->start + off, len, &m, e))
		return -1;
	out->len = m.len;
	switch (i) {
	case ALLOCATION:
		out->status = allocation(&m);
		break;
	case DEPTH:
		out->status = depth(x->img, &m);
		break;
	case MAP:
		map_status(&m, wide, out);
		break;
	}
	return 0;
}
