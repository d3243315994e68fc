/* SPDX-License-Identifier: BSD-3-Clause */
/* See rawguard.h. */
#include <errno.h>
#include <string.h>

#include "rawguard.h"
#include "read.h"
#include "registry.h"

#define GUARD_LEN 512u

bool rawguard_concerns(const struct image *img, uint64_t off)
{
	return off < GUARD_LEN && img_probed_raw(img);
}

int rawguard_check(
    struct image *img, const void *buf, size_t len, uint64_t off, struct err *e)
{
	size_t head_len = min_u64(GUARD_LEN, img_size(img));
	uint8_t head[GUARD_LEN];
	const struct driver *d;

	if (!rawguard_concerns(img, off))
		return 0;
	if (read_range(img, head, head_len, 0, e))
		return -1;
	memcpy(head + off, buf, min_u64(len, head_len - off));
	d = registry_guess(head, head_len, img->file->name);
	if (d == img->drv)
		return 0;
	err_set(e, ERR_USAGE, EPERM,
	    "%s: refused to write what a %s image begins with: that the image "
	    "is raw was only guessed",
	    img->name, d->info.name);
	err_hint(e, "Give the format 'raw' to lift this restriction.");
	return -1;
}
