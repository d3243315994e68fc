/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Zero and trim.
 *
 * Whole units are the driver's, which only changes its mapping; at the edges,
 * and where it cannot, zeroes are written.  A trim leaves those alone.
 */
#include <errno.h>

#include "drv.h"
#include "map.h"
#include "rawguard.h"
#include "request.h"
#include "write.h"

/* Must zeroes be written here, so that it reads as zeroes? */
static bool needs_zeroes(const struct chain_extent *c, unsigned flags)
{
	if (c->x.kind == EXT_DATA || c->x.kind == EXT_PACKED)
		return true;
	return (flags & ZERO_HIDE) && (c->depth || c->x.kind == EXT_HOLE);
}

/* Write zeroes as data where the range does not read as zeroes already. */
static int zero_as_data(struct image *img, uint64_t len, uint64_t off,
    unsigned flags, struct err *e)
{
	static const uint8_t zeroes[65536];

	while (len) {
		struct chain_extent c;
		uint64_t n;

		if (chain_map(img, off, len, &c, e))
			return -1;
		n = c.x.len;
		if (c.x.flags & EXT_F_META)
			return write_damaged(img, &c.x, e);
		if (rawguard_concerns(img, off)) {
			n = min_u64(n, SECTOR_LEN - off);
			if (write_range(img, zeroes, n, off, e))
				return -1;
		} else if (!c.depth && extent_in_place(&c.x)) {
			unsigned how = (flags & IMG_FAST) ? HOST_ZERO_FAST : 0;

			if (flags & IMG_MAY_TRIM)
				how |= HOST_ZERO_PUNCH;
			if (host_zero(c.x.file, c.x.host, n, how, e))
				return -1;
		} else if (needs_zeroes(&c, flags)) {
			if (flags & IMG_FAST)
				return err_set(e, ERR_UNSUPPORTED, ENOTSUP,
				    "%s: zeroes can only be written here",
				    img->name);
			n = min_u64(n, sizeof zeroes);
			if (write_range(img, zeroes, n, off, e))
				return -1;
		}
		off += n;
		len -= n;
	}
	return 0;
}

static int unmap_once(struct image *img, uint64_t guest, uint64_t len,
    enum unmap_how how, uint64_t *done, struct err *e)
{
	int rc;

	rwlock_excl(&img->meta);
	rc = drv_unmap(img, guest, len, how, done, e);
	rwlock_excl_end(&img->meta);
	return rc;
}

/* Whole units [start, end). */
static int zero_units(struct image *img, uint64_t start, uint64_t end,
    unsigned flags, struct err *e)
{
	enum unmap_how how =
	    (flags & IMG_MAY_TRIM) ? UNMAP_ZERO_TRIM : UNMAP_ZERO;

	while (start < end) {
		uint64_t done;

		if (unmap_once(img, start, end - start, how, &done, e))
			return -1;
		if (!done) {
			done = end - start;
			if (img->drv->unmap)
				done = min_u64(done, max_u64(img->unit, MiB));
			if (zero_as_data(img, done, start, flags, e))
				return -1;
		}
		start += done;
	}
	return 0;
}

/* The whole units inside a range; the last one may be cut by the disk's end. */
static void whole_units(const struct image *img, uint64_t len, uint64_t off,
    uint64_t *start, uint64_t *end)
{
	uint64_t last = off + len;

	*start = round_up(off, img->unit);
	*end = last == img_size(img) ? last : round_down(last, img->unit);
	if (*end < *start)
		*start = *end = last;
}

int zero_range(struct image *img, uint64_t len, uint64_t off, unsigned flags,
    struct err *e)
{
	/* The few bytes at the edges are quick to write, whatever FAST says. */
	unsigned edge = flags & ~IMG_FAST;
	uint64_t start, end;

	whole_units(img, len, off, &start, &end);
	if (zero_units(img, start, end, flags, e) ||
	    zero_as_data(img, start - off, off, edge, e))
		return -1;
	return zero_as_data(img, off + len - end, end, edge, e);
}

int img_zero(struct image *img, uint64_t len, uint64_t off, unsigned flags,
    struct err *e)
{
	struct write_guard g;
	int rc;

	if (write_enter(img, &g, len, off, e))
		return -1;
	if (!(img->flags & IMG_O_DISCARD))
		flags &= ~IMG_MAY_TRIM;
	rc = zero_range(img, len, off, flags, e);
	write_leave(img, &g);
	return rc ? -1 : write_done(img, flags, e);
}

/* Formats without unmap: the host space under the range. */
static int trim_in_place(
    struct image *img, uint64_t len, uint64_t off, struct err *e)
{
	while (len) {
		struct extent x;

		if (write_map(img, off, len, &x, e))
			return -1;
		if (rawguard_concerns(img, off))
			x.len = min_u64(x.len, SECTOR_LEN - off);
		else if (extent_in_place(&x) &&
			 host_discard(x.file, x.host, x.len, e) < 0)
			return -1;
		off += x.len;
		len -= x.len;
	}
	return 0;
}

static int trim_units(
    struct image *img, uint64_t start, uint64_t end, struct err *e)
{
	while (start < end) {
		uint64_t done;

		if (unmap_once(img, start, end - start, UNMAP_TRIM, &done, e))
			return -1;
		if (!done) {
			done = min_u64(end - start, img->unit);
			if (trim_in_place(img, done, start, e))
				return -1;
		}
		start += done;
	}
	return 0;
}

int img_trim(struct image *img, uint64_t len, uint64_t off, unsigned flags,
    struct err *e)
{
	struct write_guard g;
	uint64_t start, end;
	int rc;

	/* Nothing changes: bitmaps need not know. */
	if (!(img->flags & IMG_O_DISCARD))
		return request_check_write(img, len, off, e)
			   ? -1
			   : write_done(img, flags, e);
	if (write_enter(img, &g, len, off, e))
		return -1;
	whole_units(img, len, off, &start, &end);
	rc = img->drv->unmap ? trim_units(img, start, end, e)
			     : trim_in_place(img, len, off, e);
	write_leave(img, &g);
	return rc ? -1 : write_done(img, flags, e);
}
