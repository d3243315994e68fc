/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Another size of a stream-optimized extent.
 *
 * It shrinks where the grains to go are the end of the log, as a conversion
 * leaves them.  No copy of one of them, even one that was replaced, may stay:
 * it would come back when the disk has grown again and is read from its
 * markers.
 *
 * Locks: meta, as in vmdk.h.
 */
#include <stdlib.h>

#include "../core/write.h"
#include "stream.h"

int vmdk_stream_grow(struct vmdk_extent *x, uint64_t gd_n, struct err *e)
{
	struct vmdk_gt **more;

	if (gd_n > VMDK_STREAM_GD_N_MAX)
		return err_unsupported(e,
		    "%s: a stream has at most %u grain tables here",
		    x->file->name, VMDK_STREAM_GD_N_MAX);
	if (vmdk_stream_begin(x, e))
		return -1;
	if (gd_n <= x->gd_n)
		return 0;
	more = reallocarray(x->stream->gt, gd_n + 1, sizeof(*more));
	if (!more)
		return err_nomem(e);
	memset(more + x->gd_n, 0, (gd_n + 1 - x->gd_n) * sizeof(*more));
	x->stream->gt = more;
	x->gd_n = gd_n;
	return 0;
}

/* Tables and entries of grains from keep_ix on, and places behind `end`. */
static void forget(struct vmdk_extent *x, uint64_t keep_ix, uint64_t end)
{
	struct vmdk_stream *s = x->stream;
	uint64_t gd_n = div_up(keep_ix, x->gt_n);

	for (uint64_t i = 0; i < x->gd_n; i++) {
		struct vmdk_gt *gt = s->gt[i];

		if (!gt)
			continue;
		if (i >= gd_n) {
			free(take(s->gt[i]));
			continue;
		}
		for (uint64_t k = 0; k < x->gt_n; k++)
			if (i * x->gt_n + k >= keep_ix)
				gt->entry[k] = 0;
		gt->changed = true;
		if ((uint64_t)gt->sector * SECTOR_LEN >= end)
			gt->sector = 0;
	}
	s->current = UINT64_MAX;
	s->end = end;
	x->gd_n = gd_n;
}

int vmdk_stream_cut(
    struct image *img, struct vmdk_extent *x, uint64_t len, struct err *e)
{
	uint64_t keep_ix = div_up(len, x->grain_len), end;
	bool whole = !x->stream || !x->stream->open;

	if (vmdk_stream_find(x, whole, keep_ix, &end, e) ||
	    write_announce(img, e) || vmdk_stream_begin(x, e))
		return -1;
	x->h.capacity = len / SECTOR_LEN;
	if (vmdk_header_write(x->file, &x->h, e) || host_sync(x->file, e))
		return image_fail(img, e);
	forget(x, keep_ix, end);
	return host_truncate(x->file, end, e) ? image_fail(img, e) : 0;
}
