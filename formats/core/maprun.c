/* SPDX-License-Identifier: BSD-3-Clause */
/* Long extents from single blocks: see maprun.h. */
#include "maprun.h"

bool extent_goes_on(const struct extent *a, const struct extent *b)
{
	if (a->kind != b->kind || a->flags != b->flags || a->kind == EXT_PACKED)
		return false;
	if (a->kind != EXT_DATA && !(a->flags & EXT_F_SPACE))
		return true;
	return a->file == b->file && a->host + a->len == b->host;
}

int maprun(struct image *img, maprun_look *look, uint64_t guest, uint64_t len,
    struct extent *x, struct err *e)
{
	*x = (struct extent){.guest = guest, .len = len};
	if (look(img, guest, len, x, e))
		return -1;
	for (unsigned i = 1; i < MAPRUN_STEPS_MAX && x->len < len; i++) {
		struct extent next = {
		    .guest = guest + x->len, .len = len - x->len};
		struct err later; /* the business of who asks for it */

		later.kind = ERR_NONE;
		if (look(img, next.guest, next.len, &next, &later) ||
		    !extent_goes_on(x, &next))
			break;
		x->len += next.len;
	}
	return 0;
}
