/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Zero and trim of whole blocks: only BAT entries change.
 *
 * A block that is trimmed reads as zeroes, too: what is below never shows
 * again.  Parts of blocks are zeroed or punched in place by the core.
 */
#include "vhdx.h"

enum fate {
	FATE_KEEP,   /* it reads as zeroes, or nobody cares */
	FATE_ZERO,   /* without space */
	FATE_CANNOT, /* the core writes zeroes, or punches */
};

static enum fate fate_of(
    const struct image *img, uint64_t entry, enum unmap_how how)
{
	const struct vhdx *q = vhdx_of(img);

	switch (vhdx_state(entry)) {
	case VHDX_NOT_PRESENT:
		return img->has_backing ? FATE_ZERO : FATE_KEEP;
	case VHDX_UNDEFINED:
	case VHDX_ZERO:
	case VHDX_UNMAPPED:
		return FATE_KEEP;
	case VHDX_FULL:
		return q->m.keeps_blocks || how == UNMAP_ZERO ? FATE_CANNOT
							      : FATE_ZERO;
	case VHDX_PART:
		return q->m.keeps_blocks ? FATE_CANNOT : FATE_ZERO;
	}
	return FATE_CANNOT;
}

static int apply(struct image *img, uint64_t block_ix, uint64_t entry,
    enum unmap_how how, struct err *e)
{
	const struct vhdx *q = vhdx_of(img);
	bool punch = how != UNMAP_ZERO && (img->flags & IMG_O_DISCARD);

	if (vhdx_bat_set(img, vhdx_bat_ix(q, block_ix), VHDX_ZERO, e))
		return -1;
	if (!vhdx_has_space(entry) || !image_retire(img, vhdx_host(entry),
					  q->m.block_len, true, punch, e))
		return 0;
	/* As it was: it needs no memory. */
	vhdx_bat_set(img, vhdx_bat_ix(q, block_ix), entry, e);
	return -1;
}

/* All of the block at `guest` that is in the disk? */
static bool is_whole(const struct image *img, uint64_t guest, uint64_t len)
{
	uint32_t block_len = vhdx_of(img)->m.block_len;

	return is_aligned(guest, block_len) &&
	       (len >= block_len || guest + len == img_size(img));
}

int vhdx_unmap(struct image *img, uint64_t guest, uint64_t len,
    enum unmap_how how, uint64_t *done, struct err *e)
{
	const struct vhdx *q = vhdx_of(img);

	*done = 0;
	while (*done < len) {
		uint64_t at = guest + *done, entry;
		uint64_t block_ix = at / q->m.block_len;
		enum fate fate;

		if (vhdx_block_get(img, block_ix, &entry, e))
			return -1;
		fate = fate_of(img, entry, how);
		if (fate == FATE_ZERO && !is_whole(img, at, len - *done))
			fate = FATE_CANNOT;
		if (fate == FATE_CANNOT)
			return 0;
		if (fate == FATE_ZERO && apply(img, block_ix, entry, how, e))
			return -1;
		*done +=
		    min_u64(len - *done, q->m.block_len - at % q->m.block_len);
	}
	return 0;
}
