/* SPDX-License-Identifier: BSD-3-Clause */
/* Preallocation: see prealloc.h. */
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
