/* SPDX-License-Identifier: BSD-3-Clause */
/* The checked wrappers around a driver: see drv.h. */
#include <errno.h>

#include "../codec/codec.h"
#include "drv.h"

static int broken(const struct image *img, const char *what, struct err *e)
{
	return err_set(e, ERR_DAMAGED, EIO,
	    "%s: internal error: the %s driver gave a bad answer (%s)",
	    img->name, img->drv->info.name, what);
}

static bool has_host(const struct extent *x)
{
	switch (x->kind) {
	case EXT_HOLE:
		return false;
	case EXT_ZERO:
		return x->flags & EXT_F_SPACE;
	case EXT_DATA:
	case EXT_PACKED:
		return true;
	}
	return false;
}

static int check_packed(
    const struct image *img, const struct extent *x, struct err *e)
{
	uint64_t unit_end = x->packed.unit + x->packed.unit_len;

	if (x->guest < x->packed.unit || x->guest + x->len > unit_end)
		return broken(img, "extent outside its packed unit", e);
	if (!x->packed.stored || x->packed.unit_len > CODEC_UNIT_MAX)
		return broken(img, "length of a packed unit", e);
	return 0;
}

int drv_map(struct image *img, uint64_t guest, uint64_t len, struct extent *x,
    struct err *e)
{
	*x = (struct extent){.guest = guest};
	if (img->drv->map(img, guest, len, x, e))
		return -1;
	if (x->guest != guest || !x->len || x->len > len)
		return broken(img, "range", e);
	if (x->kind < EXT_HOLE || x->kind > EXT_PACKED)
		return broken(img, "kind", e);
	if (has_host(x) && (!x->file || x->host > INT64_MAX - x->len))
		return broken(img, "host range", e);
	return x->kind == EXT_PACKED ? check_packed(img, x, e) : 0;
}

int drv_reserve(struct image *img, uint64_t guest, uint64_t len,
    uint64_t stored, struct reservation *r, struct err *e)
{
	if (!img->drv->reserve)
		return err_set(e, ERR_UNSUPPORTED, ENOTSUP,
		    "%s: %s images cannot allocate", img->name,
		    img->drv->info.name);
	*r = (struct reservation){.guest = guest};
	if (img->drv->reserve(img, guest, len, stored, r, e))
		return -1;
	if (r->guest > guest || !r->len || r->guest + r->len <= guest ||
	    !r->file || r->host > INT64_MAX - r->len)
		return broken(img, "reservation", e);
	return 0;
}

int drv_publish(struct image *img, const struct reservation *r, struct err *e)
{
	return img->drv->publish(img, r, e);
}

void drv_abandon(struct image *img, const struct reservation *r)
{
	img->drv->abandon(img, r);
}

int drv_unmap(struct image *img, uint64_t guest, uint64_t len,
    enum unmap_how how, uint64_t *done, struct err *e)
{
	*done = 0;
	if (!img->drv->unmap)
		return 0;
	if (img->drv->unmap(img, guest, len, how, done, e))
		return -1;
	return *done <= len ? 0 : broken(img, "unmapped too much", e);
}

int drv_release(struct image *img, uint64_t host, uint64_t len, struct err *e)
{
	return img->drv->release(img, host, len, e);
}

int drv_commit(struct image *img, struct err *e)
{
	if (img->drv->commit)
		return img->drv->commit(img, e);
	image_commit_mark(img);
	return host_sync(img->file, e);
}
