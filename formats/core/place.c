/* SPDX-License-Identifier: BSD-3-Clause */
/* Where plain bytes are: img_place(), see image.h. */
#include "../host/many.h"
#include "map.h"
#include "request.h"

/*
 * Host space that is given to something else would send its new bytes under
 * the old name.  Formats that reserve space do that; others, and images that
 * nobody writes, never.
 */
static bool stays(const struct chain_extent *c)
{
	return c->x.kind == EXT_DATA && !(c->x.flags & EXT_F_CRYPT) &&
	       (!c->layer->drv->reserve || !img_writable(c->layer));
}

static int find(struct image *img, uint64_t len, uint64_t off,
    struct extent *all, struct err *e)
{
	while (len) {
		struct chain_extent c;

		if (chain_map(img, off, len, &c, e))
			return -1;
		if (!stays(&c))
			return 0;
		if (!all->len)
			*all = c.x;
		else if (c.x.file == all->file &&
			 c.x.host == all->host + all->len)
			all->len += c.x.len;
		else
			return 0;
		off += c.x.len;
		len -= c.x.len;
	}
	return 1;
}

int img_place(struct image *img, uint64_t len, uint64_t off,
    struct img_place *place, struct err *e)
{
	struct extent x = {.len = 0};
	unsigned pin;
	int rc;

	if (!request_tryenter(img, &pin))
		return 0;
	rc = request_check(img, len, off, e);
	if (!rc)
		rc = find(img, len, off, &x, e);
	request_leave(img, pin);
	if (rc <= 0 || !many_resident(x.file, x.len, x.host))
		return rc < 0 ? -1 : 0;
	*place = (struct img_place){x.file->fd, x.host};
	return 1;
}
