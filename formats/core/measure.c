/* SPDX-License-Identifier: BSD-3-Clause */
/* See measure.h. */
#include "measure.h"

int measure_data(struct image *src, uint64_t unit, uint64_t *len, struct err *e)
{
	uint64_t size = img_size(src), off = 0, counted = 0;

	*len = 0;
	image_work_begin(src, size);
	while (off < size) {
		struct img_extent x;

		if (img_map(src, off, size - off, &x, e))
			return -1;
		if (x.data && !x.zero) {
			uint64_t first =
			    max_u64(round_down(off, unit), counted);

			counted = round_up(off + x.len, unit);
			*len += counted - min_u64(first, counted);
		}
		if (image_work(src, x.len, e))
			return -1;
		off += x.len;
	}
	return 0;
}
