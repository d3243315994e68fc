/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The write path.
 *
 *   lock the guest range (whole units)
 *   map                      DATA and not SHARED: write in place, done
 *   reserve  (meta excl)     private host space; nobody can see it
 *   fill head and tail       copy on write from the old mapping; skipped where
 *                            the space and the old bytes are zeroes already
 *   write the data           no lock but the range
 *   publish  (meta excl)     repoint; the old space goes to quarantine
 *   abandon  (on failure)    give the space back; the mapping is untouched
 *   unlock the range; FUA: commit
 *
 * The data is written before publish (I2); a failure before publish changes
 * nothing visible (I5); each reservation ends in one of the two (I7).
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "../codec/codec.h"
#include "../crypto/cipher.h"
#include "crypt.h"
#include "drv.h"
#include "map.h"
#include "rawguard.h"
#include "read.h"
#include "request.h"
#include "write.h"
#include "zero.h"

bool extent_in_place(const struct extent *x)
{
	return x->kind == EXT_DATA && !(x->flags & (EXT_F_SHARED | EXT_F_META));
}

bool extent_plain(const struct extent *x)
{
	return extent_in_place(x) && !(x->flags & EXT_F_CRYPT);
}

bool image_writes_through(const struct image *img)
{
	return img->cache == IMG_CACHE_WRITETHROUGH ||
	       img->cache == IMG_CACHE_DIRECTSYNC;
}

/* ---- guard ------------------------------------------------------------ */

/* What a write locks: whole units, at least sectors, and crypt sectors.
 * off + len <= IMG_SIZE_MAX, so rounding up cannot overflow. */
static void lock_range(const struct image *img, uint64_t len, uint64_t off,
    uint64_t *start, uint64_t *end)
{
	uint64_t unit = max_u64(img->unit, SECTOR_LEN);

	if (img->cipher)
		unit = max_u64(unit, cipher_sector_len(img->cipher));
	*start = round_down(off, unit);
	*end = round_up(off + len, unit);
	rawguard_widen(img, start, end);
}

int write_announce(struct image *img, struct err *e)
{
	int rc = 0;

	if (atomic_load_explicit(&img->first_done, memory_order_acquire))
		return 0;
	mutex_lock(&img->first_lock);
	if (!atomic_load(&img->first_done))
		rc = img->drv->first_write(img, e) ? image_fail(img, e) : 0;
	if (!rc)
		atomic_store(&img->first_done, true);
	mutex_unlock(&img->first_lock);
	return rc;
}

/* Bitmaps know of a change before it can be seen. */
static int track(struct image *img, uint64_t len, uint64_t off, struct err *e)
{
	if (write_announce(img, e))
		return -1;
	if (bitmaps_tracking(&img->bitmaps) == TRACK_NONE || !len)
		return 0;
	return bitmaps_track(img, len, off, e);
}

int write_enter(struct image *img, struct write_guard *g, uint64_t len,
    uint64_t off, struct err *e)
{
	uint64_t start, end;

	g->pin = request_enter(img);
	if (request_check_write(img, len, off, e) || track(img, len, off, e)) {
		request_leave(img, g->pin);
		return -1;
	}
	lock_range(img, len, off, &start, &end);
	range_lock(&img->ranges, &g->range, start, end);
	return 0;
}

void write_leave(struct image *img, struct write_guard *g)
{
	range_unlock(&img->ranges, &g->range);
	request_leave(img, g->pin);
}

int write_tryenter(struct image *img, struct write_guard *g, uint64_t len,
    uint64_t off, struct err *e)
{
	uint64_t start, end;

	if (!request_tryenter(img, &g->pin))
		return 0;
	if (request_check_write(img, len, off, e)) {
		request_leave(img, g->pin);
		return -1;
	}
	lock_range(img, len, off, &start, &end);
	if (atomic_load(&img->first_done) &&
	    bitmaps_tracking(&img->bitmaps) != TRACK_FIRST &&
	    range_trylock(&img->ranges, &g->range, start, end)) {
		if (!track(img, len, off, e))
			return 1;
		write_leave(img, g);
		return -1;
	}
	request_leave(img, g->pin);
	return 0;
}

/* ---- the three steps --------------------------------------------------- */

int write_reserve(struct image *img, uint64_t guest, uint64_t len,
    uint64_t stored, struct reservation *r, struct err *e)
{
	int rc;

	rwlock_excl(&img->meta);
	rc = drv_reserve(img, guest, len, stored, r, e);
	rwlock_excl_end(&img->meta);
	if (!rc)
		atomic_fetch_add(&img->reserved_n, 1);
	if (img->cipher)
		r->zeroed = false;
	return rc;
}

int write_publish(struct image *img, const struct reservation *r, struct err *e)
{
	int rc;

	rwlock_excl(&img->meta);
	rc = drv_publish(img, r, e);
	rwlock_excl_end(&img->meta);
	atomic_fetch_sub(&img->reserved_n, 1);
	return rc ? image_fail(img, e) : 0;
}

void write_abandon(struct image *img, const struct reservation *r)
{
	rwlock_excl(&img->meta);
	drv_abandon(img, r);
	rwlock_excl_end(&img->meta);
	atomic_fetch_sub(&img->reserved_n, 1);
}

/* ---- copy on write ------------------------------------------------------ */

/*
 * The old bytes of [start, end), which the data does not cover, for the new
 * space: *buf is malloc'd, or NULL where nothing has to be written.  What lies
 * past the end of the disk is zero.
 */
static int old_bytes(struct image *img, const struct reservation *r,
    uint64_t start, uint64_t end, uint8_t **buf, struct err *e)
{
	uint64_t size = img_size(img), in_disk;
	int zero = 1;

	*buf = NULL;
	if (start == end)
		return 0;
	in_disk = start < size ? min_u64(end, size) - start : 0;
	if (in_disk)
		zero = chain_is_zero(img, start, in_disk, e);
	if (zero < 0)
		return -1;
	if (zero && r->zeroed)
		return 0;
	*buf = calloc(1, end - start);
	if (!*buf)
		return err_nomem(e);
	return zero ? 0 : read_range(img, *buf, in_disk, start, e);
}

/* Write head, data and tail of a reservation in one go. */
static int fill_and_write(struct image *img, const struct reservation *r,
    const void *buf, size_t len, uint64_t off, struct err *e)
{
	CLEANUP_FREE uint8_t *head = NULL, *tail = NULL;
	uint64_t end = r->guest + r->len, host = r->host + (off - r->guest);
	struct iovec iov[3];
	int n = 0;

	if (old_bytes(img, r, r->guest, off, &head, e) ||
	    old_bytes(img, r, off + len, end, &tail, e))
		return -1;
	if (head) {
		iov[n++] = (struct iovec){head, off - r->guest};
		host = r->host;
	}
	iov[n++] = (struct iovec){(void *)buf, len};
	if (tail)
		iov[n++] = (struct iovec){tail, end - (off + len)};
	if (img->cipher)
		return crypt_pwritev(img, r->file, iov, n, host, r->guest, e);
	return host_pwritev(r->file, iov, n, host, e);
}

/* A packed unit into space of its own. */
static int store_packed(struct image *img, const void *packed,
    size_t packed_len, uint64_t len, uint64_t off, struct err *e)
{
	struct reservation r;

	if (write_reserve(img, off, len, packed_len, &r, e))
		return -1;
	if (!host_pwrite(r.file, packed, packed_len, r.host, e))
		return write_publish(img, &r, e);
	write_abandon(img, &r);
	return -1;
}

/* One unit, in a format that packs all: the bytes of `buf` in the old ones.
 * Returns the bytes written, 0 failed. */
static size_t write_packing(
    struct image *img, const void *buf, size_t len, uint64_t off, struct err *e)
{
	uint64_t start = round_down(off, img->unit), in_unit = off - start;
	uint64_t in_disk = min_u64(img->unit, img_size(img) - start);
	size_t room = codec_bound(img->unit);
	CLEANUP_FREE uint8_t *unit = calloc(1, img->unit);
	CLEANUP_FREE uint8_t *packed = malloc(room);
	struct codec_ctx *codec;
	ssize_t n = -1;

	if (!unit || !packed) {
		err_nomem(e);
		return 0;
	}
	len = min_u64(len, img->unit - in_unit);
	if (len < in_disk && read_range(img, unit, in_disk, start, e))
		return 0;
	memcpy(unit + in_unit, buf, len);
	codec = codec_ctx_new((enum codec)img->codec, 0, e);
	if (codec)
		n = codec_pack(codec, packed, room, unit, img->unit, e);
	codec_ctx_free(codec);
	return n > 0 && !store_packed(img, packed, (size_t)n, in_disk, start, e)
		   ? len
		   : 0;
}

/* Returns the bytes written, 0 failed. */
static size_t write_new(
    struct image *img, const void *buf, size_t len, uint64_t off, struct err *e)
{
	struct reservation r;

	if (img->packs_only)
		return write_packing(img, buf, len, off, e);
	if (write_reserve(img, off, len, 0, &r, e))
		return 0;
	len = min_u64(len, r.guest + r.len - off);
	if (fill_and_write(img, &r, buf, len, off, e)) {
		write_abandon(img, &r);
		return 0;
	}
	return write_publish(img, &r, e) ? 0 : len;
}

/* ---- writing ------------------------------------------------------------ */

int write_damaged(struct image *img, const struct extent *x, struct err *e)
{
	err_set(e, ERR_DAMAGED, EIO,
	    "%s: guest offset %llu: its data at %llu lies on live metadata",
	    img->name, (unsigned long long)x->guest,
	    (unsigned long long)x->host);
	return image_fail(img, e);
}

int write_map(struct image *img, uint64_t guest, uint64_t len, struct extent *x,
    struct err *e)
{
	if (layer_map(img, guest, len, x, e))
		return -1;
	if (x->flags & EXT_F_META) /* I4 */
		return write_damaged(img, x, e);
	return 0;
}

static int overwrite(struct image *img, const struct extent *x,
    const uint8_t *buf, struct err *e)
{
	if (x->flags & EXT_F_CRYPT)
		return crypt_overwrite(img, x, buf, x->len, e);
	return host_pwrite(x->file, buf, x->len, x->host, e);
}

int write_range(
    struct image *img, const void *buf, size_t len, uint64_t off, struct err *e)
{
	const uint8_t *p = buf;

	if (rawguard_check(img, buf, len, off, e))
		return -1;
	while (len) {
		struct extent x;
		size_t n;

		if (write_map(img, off, len, &x, e))
			return -1;
		n = x.len;
		if (extent_in_place(&x)) {
			if (overwrite(img, &x, p, e))
				return -1;
		} else {
			n = write_new(img, p, n, off, e);
			if (!n)
				return -1;
		}
		p += n;
		off += n;
		len -= n;
	}
	return 0;
}

int write_done(struct image *img, unsigned flags, struct err *e)
{
	if ((flags & IMG_FUA) || image_writes_through(img))
		return request_commit(img, e);
	return image_commit_if_due(img, e);
}

int img_pwrite(struct image *img, const void *buf, size_t len, uint64_t off,
    unsigned flags, struct err *e)
{
	struct write_guard g;
	int rc;

	if (img->detect_zeroes && len && is_zero(buf, len))
		return img_zero(img, len, off,
		    img->detect_zeroes == DETECT_UNMAP ? flags | IMG_MAY_TRIM
						       : flags,
		    e);
	if (write_enter(img, &g, len, off, e))
		return -1;
	rc = write_range(img, buf, len, off, e);
	write_leave(img, &g);
	return rc ? -1 : write_done(img, flags, e);
}

/* The unit at `off`, which the end of the disk may cut: as far as it goes when
 * nobody can move that any more. */
static int enter_unit(struct image *img, struct write_guard *g, uint64_t *len,
    uint64_t off, struct err *e)
{
	for (;;) {
		uint64_t size = img_size(img);

		*len = off < size ? min_u64(img->unit, size - off) : img->unit;
		if (write_enter(img, g, *len, off, e))
			return -1;
		if (*len == min_u64(img->unit, img_size(img) - off))
			return 0;
		write_leave(img, g);
	}
}

int write_packs(const struct image *img, struct err *e)
{
	if (!img->codec && img->drv->info.can_pack)
		return err_unsupported(e,
		    "%s: Compression not supported for this kind of %s image",
		    img->name, img->drv->info.name);
	if (!img->codec)
		return err_unsupported(
		    e, "Compression not supported for this file format");
	if (img->cipher)
		return err_unsupported(e,
		    "Compression and encryption not supported at the same "
		    "time");
	return 0;
}

int img_write_packed(struct image *img, const void *packed, size_t packed_len,
    uint64_t off, struct err *e)
{
	struct write_guard g;
	uint64_t len;
	int rc;

	if (write_packs(img, e))
		return -1;
	if (!is_aligned(off, img->unit) || !packed_len ||
	    packed_len >=
		(img->packs_only ? codec_bound(img->unit) + 1 : img->unit))
		return err_usage(e, "%s: packed unit of %zu bytes at %llu",
		    img->name, packed_len, (unsigned long long)off);
	if (enter_unit(img, &g, &len, off, e))
		return -1;
	rc = store_packed(img, packed, packed_len, len, off, e);
	write_leave(img, &g);
	return rc ? -1 : write_done(img, 0, e);
}
