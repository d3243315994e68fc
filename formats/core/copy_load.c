/* SPDX-License-Identifier: BSD-3-Clause */
/* Chunks of a copy: the buffers of a worker; reading and packing. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "copy.h"
#include "zero.h"

int copy_chunk_init(
    struct copy_chunk *c, const struct copy_plan *plan, struct err *e)
{
	const struct img_copy *job = plan->job;

	*c = (struct copy_chunk){
	    .job = job, .target_zero = plan->target_zero, .share = plan->share};
	c->buf = malloc(plan->chunk);
	c->part = calloc(plan->chunk / SECTOR_LEN, sizeof *c->part);
	if (!c->buf || !c->part)
		return err_nomem(e);
	if (!(job->flags & IMG_COPY_PACK))
		return 0;
	c->packed = malloc(codec_bound(job->dst->unit));
	if (!c->packed)
		return err_nomem(e);
	c->codec = codec_ctx_new((enum codec)job->dst->codec, job->level, e);
	return c->codec ? 0 : -1;
}

void copy_chunk_clear(struct copy_chunk *c)
{
	codec_ctx_free(c->codec);
	free(c->packed);
	free(c->buf);
	free(c->part);
	free(c->piece);
}

void copy_chunk_begin(struct copy_chunk *c, const struct copy_run *run)
{
	c->run = *run;
	c->guest = c->job->dst_off + run->pos;
	c->loaded = false;
	c->packed_len = 0;
	c->part[0] = (struct zero_run){run->len, false};
	c->part_n = 1;
	c->n = 0;
}

/* A sector that cannot be read becomes zeroes. */
static void salvage_sector(
    const struct copy_chunk *c, uint8_t *buf, size_t len, uint64_t off)
{
	const struct img_copy *job = c->job;
	struct err e = ERR_INIT;

	if (!img_pread(c->run.src, buf, len, off, &e))
		return;
	memset(buf, 0, len);
	err_prefix(
	    &e, "error while reading offset %llu: ", (unsigned long long)off);
	if (job->warn)
		job->warn(job->warn_arg, e.msg);
}

int copy_load(struct copy_chunk *c, struct err *e)
{
	const struct copy_run *run = &c->run;

	if (!img_pread(run->src, c->buf, run->len, run->src_off, e)) {
		c->loaded = true;
		return 0;
	}
	if (!(c->job->flags & IMG_COPY_SALVAGE)) {
		err_prefix(e, "error while reading at byte %llu: ",
		    (unsigned long long)run->pos);
		return -1;
	}
	err_clear(e);
	for (uint64_t at = 0; at < run->len; at += SECTOR_LEN)
		salvage_sector(c, c->buf + at,
		    min_u64(SECTOR_LEN, run->len - at), run->src_off + at);
	c->loaded = true;
	return 0;
}

bool copy_chunk_whole(const struct copy_chunk *c)
{
	const struct image *dst = c->job->dst;
	uint64_t end = c->guest + c->run.len;

	return is_aligned(c->guest, dst->unit) &&
	       (is_aligned(end, dst->unit) || end == img_size(dst));
}

void copy_find_zeroes(struct copy_chunk *c)
{
	size_t grain = max_u64(c->job->dst->unit, SECTOR_LEN), at = 0;

	for (c->part_n = 0; at < c->run.len; c->part_n++) {
		c->part[c->part_n] = zero_run_first(
		    c->buf + at, c->run.len - at, grain, c->job->sparse_len);
		at += c->part[c->part_n].len;
	}
}

int copy_pack(struct copy_chunk *c, struct err *e)
{
	const struct image *dst = c->job->dst;
	uint32_t unit = dst->unit;
	size_t room = dst->packs_only ? codec_bound(unit) : unit - 1;
	ssize_t n;

	if (!c->codec || !copy_chunk_whole(c))
		return 0;
	if (c->part[0].zero)
		return 0;
	memset(c->buf + c->run.len, 0, unit - c->run.len);
	n = codec_pack(c->codec, c->packed, room, c->buf, unit, e);
	if (n < 0)
		return -1;
	c->packed_len = (size_t)n;
	return 0;
}
