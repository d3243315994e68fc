/* SPDX-License-Identifier: BSD-3-Clause */
/* See rawguard.h. */
#include <errno.h>
#include <string.h>

#include "rawguard.h"
#include "read.h"
#include "registry.h"

#define HEAD_LEN 512u /* no format is recognised by less than this */

/* Where the guarded last bytes begin. */
static uint64_t tail_of(const struct image *img)
{
	uint64_t size = atomic_load(&img->size);

	return size - min_u64(size, PROBE_TAIL_LEN);
}

bool rawguard_concerns(const struct image *img, uint64_t off, uint64_t len)
{
	return img_probed_raw(img) &&
	       (off < HEAD_LEN || off + len > tail_of(img));
}

uint64_t rawguard_run(
    const struct image *img, uint64_t off, uint64_t len, bool *looked_at)
{
	uint64_t tail = tail_of(img);

	*looked_at = rawguard_concerns(img, off, len);
	if (!*looked_at)
		return len;
	if (off < HEAD_LEN)
		return min_u64(len, HEAD_LEN - off);
	*looked_at = off >= tail;
	return *looked_at ? len : tail - off;
}

void rawguard_widen(const struct image *img, uint64_t *start, uint64_t *end)
{
	if (*end > tail_of(img) && img_probed_raw(img))
		*start = min_u64(*start, round_down(tail_of(img), SECTOR_LEN));
}

/* `to` is [to_off, to_off + to_len) of the disk; the same with what is written
 * over it. */
static void lay_over(uint8_t *to, uint64_t to_len, uint64_t to_off,
    const void *buf, uint64_t len, uint64_t off)
{
	uint64_t start = max_u64(to_off, off);
	uint64_t end = min_u64(to_off + to_len, off + len);

	if (start < end)
		memcpy(to + (start - to_off),
		    (const uint8_t *)buf + (start - off), end - start);
}

int rawguard_check(
    struct image *img, const void *buf, size_t len, uint64_t off, struct err *e)
{
	uint8_t head[HEAD_LEN], tail[PROBE_TAIL_LEN];
	struct probe_in p = {.head = head,
	    .tail = tail,
	    .file_len = img_size(img),
	    .name = img->file->name};
	const struct driver *d, *other;
	uint64_t tail_off = tail_of(img);

	if (!len || !rawguard_concerns(img, off, len))
		return 0;
	p.head_len = min_u64(sizeof head, p.file_len);
	p.tail_len = p.file_len - tail_off;
	if (read_range(img, head, p.head_len, 0, e) ||
	    read_range(img, tail, p.tail_len, tail_off, e))
		return -1;
	lay_over(head, p.head_len, 0, buf, len, off);
	lay_over(tail, p.tail_len, tail_off, buf, len, off);
	d = registry_guess(&p, &other);
	if (d == img->drv)
		return 0;
	err_set(e, ERR_USAGE, EPERM,
	    "%s: refused to write what a %s image is recognised by: that the "
	    "image is raw was only guessed",
	    img->name, d->info.name);
	err_hint(e, "Give the format 'raw' to lift this restriction.");
	return -1;
}
