/* SPDX-License-Identifier: BSD-3-Clause */
/* See resize.h. */
#include "drv.h"
#include "map.h"
#include "request.h"
#include "resize.h"
#include "write.h"

int resize_hide(struct image *img, uint64_t old, uint64_t end, struct err *e)
{
	uint64_t guest = old;

	while (guest < end) {
		struct chain_extent c;
		uint64_t from, to;

		if (chain_map(img, guest, end - guest, &c, e))
			return -1;
		to = guest + c.x.len;
		if (c.x.kind != EXT_HOLE && c.x.kind != EXT_ZERO) {
			/* Whole units are quicker than parts of them. */
			from = max_u64(old, round_down(guest, img->unit));
			to = min_u64(end, round_up(to, img->unit));
			if (zero_range(img, to - from, from, 0, e))
				return -1;
		}
		guest = to;
		if (image_commit_due(img) && image_commit(img, e))
			return -1;
	}
	return 0;
}

int resize_drop(struct image *img, uint64_t size, struct err *e)
{
	uint64_t old = img_size(img), guest = round_up(size, img->unit);

	while (guest < old) {
		uint64_t done;
		int rc;

		rwlock_excl(&img->meta);
		rc = drv_unmap(
		    img, guest, old - guest, UNMAP_ZERO_TRIM, &done, e);
		rwlock_excl_end(&img->meta);
		if (rc)
			return -1;
		/* What cannot be unmapped stays: resize_hide() sees to it. */
		guest += done ? done : min_u64(img->unit, old - guest);
		if (image_commit_due(img) && image_commit(img, e))
			return -1;
	}
	return 0;
}
