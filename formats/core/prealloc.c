/* SPDX-License-Identifier: BSD-3-Clause */
/* Preallocation: see prealloc.h. */
#include <errno.h>

#include "drv.h"
#include "prealloc.h"
#include "request.h"
#include "write.h"

int prealloc_write(struct hostfile *f, uint64_t off, uint64_t len,
    struct image *img, struct err *e)
{
	static const uint8_t zeroes[1u << 20];

	while (len) {
		uint64_t n = min_u64(len, sizeof zeroes);

		if (host_pwrite(f, zeroes, n, off, e) ||
		    (img && image_work(img, n, e)))
			return -1;
		off += n;
		len -= n;
	}
	return 0;
}

/* ---- files -------------------------------------------------------------- */

int prealloc_read(struct options *o, enum img_prealloc *how, struct err *e)
{
	const char *text = options_get(o, "preallocation");

	*how = IMG_PREALLOC_OFF;
	if (!text)
		return 0;
	if (!img_prealloc_parse(text, how))
		return err_usage(e, "invalid parameter value: %s", text);
	if (*how == IMG_PREALLOC_METADATA)
		return err_unsupported(
		    e, "Unsupported preallocation mode: %s", text);
	return 0;
}

/*
 * The first block of a file is really there: who opens the file with O_DIRECT
 * finds out by reading it what the storage needs to be aligned to, and a hole
 * can be read with any alignment.
 */
static int first_block(struct hostfile *f, uint64_t len, struct err *e)
{
	return prealloc_write(f, 0, min_u64(len, 4096), NULL, e);
}

/* Grow the file from `from` to `to` bytes as `how` says; it is work of that
 * image, unless NULL. */
static int grow_file(struct hostfile *f, uint64_t from, uint64_t to,
    enum img_prealloc how, struct image *img, struct err *e)
{
	switch (how) {
	case IMG_PREALLOC_OFF:
	case IMG_PREALLOC_METADATA:
		if (!from && first_block(f, to, e))
			return -1;
		return host_grow(f, to, e);
	case IMG_PREALLOC_FALLOC:
		return from < to ? host_allocate(f, from, to - from, e) : 0;
	case IMG_PREALLOC_FULL:
		return prealloc_write(f, from, to - from, img, e);
	}
	return 0;
}

int prealloc_new(
    struct hostfile *f, uint64_t len, enum img_prealloc how, struct err *e)
{
	if (!f->fixed_size)
		return grow_file(f, 0, len, how, NULL, e);
	if (host_size(f) >= len)
		return 0;
	return err_set(e, ERR_SYSTEM, ENOSPC,
	    "%s: the device has %llu bytes, the image needs %llu", f->name,
	    (unsigned long long)host_size(f), (unsigned long long)len);
}

int prealloc_resize(struct image *img, struct hostfile *f, uint64_t from,
    uint64_t to, enum img_prealloc how, struct err *e)
{
	struct err ignored = ERR_INIT;

	if (how == IMG_PREALLOC_METADATA)
		return err_unsupported(
		    e, "Unsupported preallocation mode: metadata");
	if (to < from)
		return host_truncate(f, to, e);
	image_work_begin(img, to - from);
	if (!grow_file(f, from, to, how, img, e))
		return 0;
	if (!f->fixed_size)
		host_truncate(f, from, &ignored);
	return -1;
}

/* ---- units -------------------------------------------------------------- */

static bool has_space(const struct extent *x)
{
	switch (x->kind) {
	case EXT_HOLE:
	case EXT_ZERO:
		return x->flags & EXT_F_SPACE;
	case EXT_DATA:
	case EXT_PACKED:
		return true;
	}
	return false;
}

/* Make the space real, and zeroes: a reader sees it after publish (I2). */
static int fill(struct image *img, const struct reservation *r,
    enum img_prealloc how, struct err *e)
{
	if (how == IMG_PREALLOC_FULL)
		return prealloc_write(r->file, r->host, r->len, img, e);
	if (!r->zeroed &&
	    host_zero(r->file, r->host, r->len, HOST_ZERO_PUNCH, e))
		return -1;
	if (image_work(img, r->len, e))
		return -1;
	if (how == IMG_PREALLOC_FALLOC)
		return host_allocate(r->file, r->host, r->len, e);
	return host_grow(r->file, r->host + r->len, e);
}

/* Space for [guest, end), which has none. */
static int give_space(struct image *img, uint64_t guest, uint64_t end,
    enum img_prealloc how, struct err *e)
{
	while (guest < end) {
		struct reservation r;

		if (write_reserve(img, guest, end - guest, 0, &r, e))
			return -1;
		r.space_only = true;
		if (fill(img, &r, how, e)) {
			write_abandon(img, &r);
			return -1;
		}
		if (write_publish(img, &r, e))
			return -1;
		guest = r.guest + r.len;
		if (image_commit_due(img) && image_commit(img, e))
			return -1;
	}
	return 0;
}

int img_preallocate(struct image *img, uint64_t guest, uint64_t end,
    enum img_prealloc how, struct err *e)
{
	image_work_begin(img, guest < end ? end - guest : 0);
	while (guest < end) {
		struct extent x;
		int rc;

		rwlock_shared(&img->meta);
		rc = drv_map(img, guest, end - guest, &x, e);
		rwlock_shared_end(&img->meta);
		if (rc)
			return -1;
		if (!has_space(&x) &&
		    give_space(img, guest, guest + x.len, how, e))
			return -1;
		guest += x.len;
	}
	return 0;
}
