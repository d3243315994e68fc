/* SPDX-License-Identifier: BSD-3-Clause */
/* Two levels of tables: how long a file gets.  See twolevel.h. */
#include "measure.h"
#include "twolevel.h"

int twolevel_measure(const struct twolevel *t, uint64_t start, uint64_t made,
    uint64_t size, struct image *src, struct img_measure *out, struct err *e)
{
	uint64_t span = twolevel_span(t), room = twolevel_table_room(t);
	uint64_t data = 0, mapped = 0;

	if (src && (measure_data(src, t->cluster_len, &data, e) ||
		       measure_data(src, span, &mapped, e)))
		return -1;
	out->bitmaps = -1;
	out->required = data ? start + data + mapped / span * room : made;
	out->fully_allocated = size ? start + round_up(size, t->cluster_len) +
					  div_up(size, span) * room
				    : made;
	return 0;
}
