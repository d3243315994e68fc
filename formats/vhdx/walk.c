/* SPDX-License-Identifier: BSD-3-Clause */
/* Walking a VHDX image: every structure and every block, with its owner. */
#include <stdio.h>

#include "vhdx.h"

struct walk {
	struct image *img;
	struct walker *w;
};

static int emit(struct walk *k, enum meta_kind kind, const char *owner,
    uint64_t host, uint64_t len, uint64_t guest, struct err *e)
{
	const struct walk_extent x = {.host = host,
	    .len = len,
	    .kind = kind,
	    .owner = owner,
	    .guest = guest};

	return k->w->extent(k->w, &x, e);
}

static int region(void *arg, const struct vhdx_region *r, struct err *e)
{
	return emit(arg, META_TABLE, "region", r->host, r->len, UINT64_MAX, e);
}

static int block(struct walk *k, uint64_t block_ix, struct err *e)
{
	const struct vhdx *q = vhdx_of(k->img);
	uint64_t entry, bitmap;

	if (block_ix % q->chunk_n == 0 && q->m.has_parent) {
		if (vhdx_bitmap_host(k->img, block_ix, &bitmap, e) ||
		    (bitmap && emit(k, META_BITMAP, "sector bitmap", bitmap,
				   VHDX_UNIT, UINT64_MAX, e)))
			return -1;
	}
	if (vhdx_block_get(k->img, block_ix, &entry, e))
		return -1;
	if (!vhdx_has_space(entry))
		return 0;
	return emit(k, META_DATA, "guest data", vhdx_host(entry),
	    q->m.block_len, block_ix * q->m.block_len, e);
}

int vhdx_walk(struct image *img, struct walker *w, struct err *e)
{
	const struct vhdx *q = vhdx_of(img);
	struct walk k = {.img = img, .w = w};
	struct vhdx_region bat, meta;
	int rc;

	rc = emit(&k, META_HEADER, "headers", 0, VHDX_UNIT, UINT64_MAX, e) ||
	     emit(&k, META_OTHER, "log", q->h.log_host, q->h.log_len,
		 UINT64_MAX, e) ||
	     vhdx_regions_read(q->file, &bat, &meta, region, &k, e);
	rwlock_shared(&img->meta);
	for (uint64_t i = 0; i < vhdx_block_n(q) && !rc; i++)
		rc = block(&k, i, e);
	rwlock_shared_end(&img->meta);
	return rc ? -1 : 0;
}
