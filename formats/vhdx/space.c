/* SPDX-License-Identifier: BSD-3-Clause */
/* Host space of a writable VHDX image. */
#include <errno.h>

#include "vhdx.h"

static int shared(
    const struct image *img, const char *what, uint64_t host, struct err *e)
{
	err_damaged(e,
	    "%s: the space of %s at %#llx belongs to something else, too",
	    img->name, what, (unsigned long long)host);
	err_hint(e, "It can be read, and repaired with check -r all.");
	return -1;
}

static int claim(struct image *img, const char *what, uint64_t host,
    uint64_t len, struct err *e)
{
	int rc = space_claim(&vhdx_of(img)->space, host, len, e);

	return rc > 0 ? shared(img, what, host, e) : rc;
}

static int claim_region(void *arg, const struct vhdx_region *r, struct err *e)
{
	return claim(arg, "a region", r->host, r->len, e);
}

static int claim_structures(struct image *img, struct err *e)
{
	struct vhdx *q = vhdx_of(img);
	struct vhdx_region bat, meta;

	return claim(img, "the headers", 0, VHDX_UNIT, e) ||
		       claim(img, "the log", q->h.log_host, q->h.log_len, e) ||
		       vhdx_regions_read(
			   img->file, &bat, &meta, claim_region, img, e)
		   ? -1
		   : 0;
}

/* Blocks, and the bitmap block of each chunk. */
static int claim_blocks(struct image *img, struct err *e)
{
	const struct vhdx *q = vhdx_of(img);
	uint64_t block_n = vhdx_block_n(q), entry, host;

	for (uint64_t i = 0; i < block_n; i++) {
		if (i % q->chunk_n == 0 && q->m.has_parent) {
			if (vhdx_bitmap_host(img, i, &host, e) ||
			    (host && claim(img, "a sector bitmap", host,
					 VHDX_UNIT, e)))
				return -1;
		}
		if (vhdx_block_get(img, i, &entry, e))
			return -1;
		if (vhdx_has_space(entry) &&
		    claim(img, "a block", vhdx_host(entry), q->m.block_len, e))
			return -1;
	}
	return 0;
}

int vhdx_space_scan(struct image *img, struct err *e)
{
	struct vhdx *q = vhdx_of(img);
	uint64_t end = host_size(img->file);

	if (end > VHDX_FILE_MAX)
		return err_unsupported(e,
		    "%s: a file of %llu bytes is too large to be written",
		    img->name, (unsigned long long)end);
	if (!range_ok(q->h.log_host, q->h.log_len, end))
		return err_damaged(e,
		    "%s: the VHDX log of %u bytes at %#llx is not all in the "
		    "file",
		    img->name, q->h.log_len, (unsigned long long)q->h.log_host);
	space_init(&q->space, 0, VHDX_UNIT, end, VHDX_FILE_MAX);
	if (space_scan_begin(&q->space, e) || claim_structures(img, e) ||
	    claim_blocks(img, e))
		return -1;
	space_scan_end(&q->space);
	return 0;
}

/* What nobody owns may hold anything; past the end of the file are zeroes. */
static int clear(struct hostfile *f, uint64_t host, uint64_t len, struct err *e)
{
	uint64_t size = host_size(f);
	int rc;

	if (host >= size)
		return 0;
	len = min_u64(len, size - host);
	rc = host_punch(f, host, len, e);
	return rc ? rc : host_zero(f, host, len, 0, e);
}

int vhdx_space_take(
    struct image *img, uint64_t len, uint64_t *host, struct err *e)
{
	struct vhdx *q = vhdx_of(img);
	uint64_t got;

	if (space_take(&q->space, len, len, host, &got, e))
		return -1;
	if (img->file->fixed_size &&
	    !range_ok(*host, len, host_size(img->file)))
		err_set(e, ERR_SYSTEM, ENOSPC, "%s: no space left on device",
		    img->name);
	else if (clear(img->file, *host, len, e) >= 0)
		return 0;
	space_give(&q->space, *host, len);
	return -1;
}
