/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Zero and trim.
 *
 * Whole grains are the driver's, which only changes its mapping; at the edges,
 * and where it cannot, zeroes are written.  A trim is of whole units, and
 * leaves all else alone.
 */
#include <errno.h>

#include "drv.h"
#include "map.h"
#include "rawguard.h"
#include "request.h"
#include "write.h"

/* Must zeroes be written here, so that it reads as zeroes, whatever will be
 * below? */
static bool needs_zeroes(const struct image *img, const struct chain_extent *c)
{
	if (c->x.kind == EXT_DATA || c->x.kind == EXT_PACKED)
		return true;
	return img->has_backing && (c->depth || c->x.kind == EXT_HOLE);
}

/* Write zeroes as data where the range does not read as zeroes already. */
static int zero_as_data(struct image *img, uint64_t len, uint64_t off,
    unsigned flags, struct err *e)
{
	static const uint8_t zeroes[65536];

	while (len) {
		struct chain_extent c;
		uint64_t n;
		bool guarded;

		if (chain_map(img, off, len, &c, e))
			return -1;
		n = rawguard_run(img, off, c.x.len, &guarded);
		if (c.x.flags & EXT_F_META)
			return write_damaged(img, &c.x, e);
		if (guarded) {
			if (write_range(img, zeroes, n, off, e))
				return -1;
		} else if (!c.depth && extent_plain(&c.x)) {
			unsigned how = (flags & IMG_FAST) ? HOST_ZERO_FAST : 0;

			if (flags & IMG_MAY_TRIM)
				how |= HOST_ZERO_PUNCH;
			if (host_zero(c.x.file, c.x.host, n, how, e))
				return -1;
		} else if (needs_zeroes(img, &c)) {
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

/* Whole grains [start, end). */
static int zero_grains(struct image *img, uint64_t start, uint64_t end,
    unsigned flags, struct err *e)
{
	enum unmap_how how =
	    (flags & IMG_MAY_TRIM) ? UNMAP_ZERO_TRIM : UNMAP_ZERO;

	while (start < end) {
		struct extent x;
		uint64_t done;

		if (unmap_once(img, start, end - start, how, &done, e))
			return -1;
		if (!done) {
			if (write_map(img, start, end - start, &x, e))
				return -1;
			done = x.len;
			if (img->drv->unmap)
				done = min_u64(done, max_u64(img->unit, MiB));
			if (zero_as_data(img, done, start, flags, e))
				return -1;
		}
		start += done;
	}
	return 0;
}

/* What the mapping of zeroes tells apart. */
static uint64_t grain_of(const struct image *img)
{
	return img->grain ? img->grain : img->unit;
}

/* The whole units inside a range; the last one may be cut by the disk's end. */
static void whole_units(const struct image *img, uint64_t unit, uint64_t len,
    uint64_t off, uint64_t *start, uint64_t *end)
{
	uint64_t last = off + len;

	*start = round_up(off, unit);
	*end = last == img_size(img) ? last : round_down(last, unit);
	if (*end < *start)
		*start = *end = last;
}

/*
 * Has the layer no data in the grain [start, end), and does what is around
 * [off, off + len) there read as zeroes?
 */
static int is_empty(struct image *img, uint64_t start, uint64_t end,
    uint64_t len, uint64_t off, struct err *e)
{
	struct extent x;
	int zero;

	if (layer_map(img, start, end - start, &x, e))
		return -1;
	if ((x.kind != EXT_HOLE && x.kind != EXT_ZERO) || x.len < end - start)
		return 0;
	zero = chain_is_zero(img, start, off - start, e);
	return zero > 0 ? chain_is_zero(img, off + len, end - off - len, e)
			: zero;
}

/*
 * A part of one grain.  If that leaves all of it zeroes, without data, it is
 * mapped as zeroes: no space is taken.  The few bytes of others are quick to
 * write, whatever IMG_FAST says.
 */
static int zero_edge(struct image *img, uint64_t len, uint64_t off,
    unsigned flags, struct err *e)
{
	uint64_t start = round_down(off, grain_of(img));
	uint64_t end = min_u64(start + grain_of(img), img_size(img));
	int empty = 0;

	if (!len)
		return 0;
	if (img->drv->unmap)
		empty = is_empty(img, start, end, len, off, e);
	if (empty < 0)
		return -1;
	return empty ? zero_grains(img, start, end, flags, e)
		     : zero_as_data(img, len, off, flags & ~IMG_FAST, e);
}

int zero_range(struct image *img, uint64_t len, uint64_t off, unsigned flags,
    struct err *e)
{
	uint64_t start, end;

	whole_units(img, grain_of(img), len, off, &start, &end);
	if (zero_edge(img, start - off, off, flags, e) ||
	    zero_grains(img, start, end, flags, e))
		return -1;
	return zero_edge(img, off + len - end, end, flags, e);
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

/* Formats without unmap: the host space under the range.  What is encrypted
 * stays: holes would not read as zeroes, nor as before. */
static int trim_in_place(
    struct image *img, uint64_t len, uint64_t off, struct err *e)
{
	while (len) {
		struct extent x;
		bool guarded;

		if (write_map(img, off, len, &x, e))
			return -1;
		x.len = rawguard_run(img, off, x.len, &guarded);
		if (!guarded && extent_plain(&x) &&
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
			done = min_u64(end - start, max_u64(img->unit, MiB));
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
	whole_units(img, img->unit, len, off, &start, &end);
	rc = img->drv->unmap ? trim_units(img, start, end, e)
			     : trim_in_place(img, len, off, e);
	write_leave(img, &g);
	return rc ? -1 : write_done(img, flags, e);
}
