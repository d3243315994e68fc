/* SPDX-License-Identifier: BSD-3-Clause */
/* See measure.h. */
#include "measure.h"

int measure_data(struct image *src, uint64_t unit, uint64_t *len, struct err *e)
{
	uint64_t size = img_size(src), off = 0;

	*len = 0;
	image_work_begin(src, size);
	while (off < size) {
		struct img_extent x;
		uint64_t end;

		if (img_map(src, off, size - off, &x, e))
			return -1;
		end = off + x.len;
		if (x.data && !x.zero) {
			end = round_up(end, unit);
			*len += end - round_down(off, unit);
		}
		if (image_work(src, end - off, e))
			return -1;
		off = end;
	}
	return 0;
}
