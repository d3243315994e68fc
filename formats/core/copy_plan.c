/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The plan of a copy: walks the block status of the sources and cuts it into
 * runs, in order, without reading data.
 *
 * Runs end at multiples of the target's unit, so that a unit is written by one
 * run and whole: a unit that the source has in part is read whole, through
 * the source's own chain.  Only the ends of the job and of each source may
 * lie inside a unit.  Runs of zeroes may be long; data is cut to chunks.
 */
#include <errno.h>
#include <limits.h>

#include "copy.h"
#include "samefile.h"

/* Bytes of block status asked for at once, or a part of a huge disk. */
#define MAP_LEN	   GiB
#define MAPS_N	   65536u
#define RAW_GRAIN  4096u       /* of targets without units */
#define ABSORB_LEN (64u * KiB) /* shorter holes are read with the data */

/*
 * The layer of the source that the target is, or is based on; what it and
 * those below it have is in the target already.  Where the target's backing
 * file is none of them, the first one below the top.  A source without layers
 * hides nothing.
 */
static unsigned find_shared(const struct img_copy *job)
{
	const struct image *src = job->src[0], *base = job->dst->backing;
	unsigned depth = 0;

	if (!job->backing)
		return UINT_MAX;
	for (const struct image *l = src; l; l = l->backing, depth++)
		if (l == job->dst || (base && same_file(l->file, base->file)))
			return depth;
	return src->backing ? 1 : UINT_MAX;
}

/* Does the target read as zeroes where the job goes? */
static int find_zero(struct copy_plan *p, struct err *e)
{
	const struct img_copy *job = p->job;
	struct img_extent x;

	p->target_zero = job->flags & IMG_COPY_TARGET_ZERO;
	if (p->target_zero || job->backing || !p->total ||
	    (job->flags & IMG_COPY_EXPLICIT && job->dst->drv->unmap))
		return 0;
	if (img_map(job->dst, job->dst_off, p->total, &x, e))
		return -1;
	p->target_zero = x.zero && x.len == p->total;
	return 0;
}

/* What a source takes in the job: whole sectors. */
static uint64_t src_len(const struct img_copy *job, size_t ix)
{
	return round_up(img_size(job->src[ix]), SECTOR_LEN);
}

static int add_sizes(const struct img_copy *job, uint64_t *sum, struct err *e)
{
	*sum = 0;
	for (size_t i = 0; i < job->src_n; i++)
		if (!add_ok(*sum, src_len(job, i), sum))
			return err_usage(
			    e, "the inputs together are larger than 2^64");
	return 0;
}

/* The longest packed unit of the sources, which one chunk should hold; 0: it
 * cannot, and the unit is read in parts in any case. */
static uint32_t packed_len(const struct img_copy *job)
{
	uint32_t len = 0;

	for (size_t i = 0; i < job->src_n; i++)
		for (const struct image *l = job->src[i]; l; l = l->backing)
			len = (uint32_t)max_u64(len, l->packed_len);
	return len <= COPY_CHUNK_MAX ? len : 0;
}

static uint32_t chunk_len(const struct copy_plan *p)
{
	uint32_t unit = p->job->dst->unit, len;

	if (p->job->flags & IMG_COPY_PACK)
		return unit;
	len = (uint32_t)round_up(
	    p->share ? SHARE_CHUNK : COPY_CHUNK, max_u64(unit, 1));
	while (len < packed_len(p->job))
		len *= 2;
	return len;
}

/* What the last source does not have of its last sector need not be written
 * where the target ends, too. */
static void cut_last_sector(struct copy_plan *p)
{
	const struct img_copy *job = p->job;
	uint64_t size = img_size(job->dst), room, gap;

	if (!job->src_n || job->dst_off > size)
		return;
	room = size - job->dst_off;
	gap = -img_size(job->src[job->src_n - 1]) & (SECTOR_LEN - 1);
	if (p->total > room && p->total - room <= gap)
		p->total = room;
}

int copy_plan_init(
    struct copy_plan *p, const struct img_copy *job, struct err *e)
{
	uint64_t sum, size = img_size(job->dst);

	*p = (struct copy_plan){.job = job, .src_off = job->src_off};
	if (add_sizes(job, &sum, e))
		return -1;
	if (job->src_off > sum)
		return err_usage(e,
		    "%llu bytes to skip, but the input has %llu",
		    (unsigned long long)job->src_off, (unsigned long long)sum);
	p->total = min_u64(job->len, sum - job->src_off);
	cut_last_sector(p);
	if (!range_ok(job->dst_off, p->total, size))
		return err_usage(e,
		    "output file is smaller than input file: %llu bytes at "
		    "%llu, but %s has %llu",
		    (unsigned long long)p->total,
		    (unsigned long long)job->dst_off, img_name(job->dst),
		    (unsigned long long)size);
	p->grain = job->dst->unit > 1 ? job->dst->unit : RAW_GRAIN;
	p->shared_depth = find_shared(job);
	p->share = copy_share_possible(job);
	p->chunk = chunk_len(p);
	return find_zero(p, e);
}

/* ---- the status of the source at the current position ------------------ */

/* Between the end of a source and the next sector. */
static bool in_gap(const struct copy_plan *p)
{
	return p->src_off >= img_size(p->job->src[p->src_ix]);
}

/* To the end of the source, or of the gap behind it. */
static uint64_t src_left(const struct copy_plan *p)
{
	uint64_t end = in_gap(p) ? src_len(p->job, p->src_ix)
				 : img_size(p->job->src[p->src_ix]);

	return min_u64(end - p->src_off, p->total - p->pos);
}

static void next_src(struct copy_plan *p)
{
	while (p->src_off >= src_len(p->job, p->src_ix)) {
		p->src_off -= src_len(p->job, p->src_ix);
		p->src_ix++;
	}
}

static enum copy_kind kind_of(const struct copy_plan *p)
{
	const struct img_extent *x = &p->x;

	if (x->depth >= p->shared_depth)
		return COPY_SKIP;
	if (!x->zero || (!p->job->sparse_len && !in_gap(p)))
		return COPY_DATA;
	return p->target_zero ? COPY_SKIP : COPY_ZERO;
}

/* To salvage is to read what the map cannot tell about. */
static int map_failed(struct copy_plan *p, struct err *e)
{
	const struct img_copy *job = p->job;

	err_prefix(e, "error while reading block status at offset %llu: ",
	    (unsigned long long)p->src_off);
	if (!(job->flags & IMG_COPY_SALVAGE))
		return -1;
	if (job->warn)
		job->warn(job->warn_arg, e->msg);
	err_clear(e);
	p->x = (struct img_extent){.start = p->src_off,
	    .len = min_u64(src_left(p), p->grain),
	    .present = true,
	    .data = true};
	return 0;
}

/* Make p->x say what is at the current position. */
static int look(struct copy_plan *p, struct err *e)
{
	if (p->x.len)
		return 0;
	next_src(p);
	if (in_gap(p)) {
		p->x = (struct img_extent){.len = src_left(p), .zero = true};
		return 0;
	}
	if (!img_map(p->job->src[p->src_ix], p->src_off,
		min_u64(src_left(p),
		    round_down(p->total / MAPS_N, MAP_LEN) + MAP_LEN),
		&p->x, e))
		return 0;
	return map_failed(p, e);
}

/* ---- runs --------------------------------------------------------------- */

/* Bytes from the current position to the end of the unit there; 0 at one. */
static uint64_t to_unit_end(const struct copy_plan *p)
{
	uint64_t at = p->job->dst_off + p->pos;

	return round_up(at, p->grain) - at;
}

static void move_on(struct copy_plan *p, struct copy_run *run, uint64_t n)
{
	run->len += n;
	p->pos += n;
	p->src_off += n;
	p->x.len -= n;
}

/* Shorter holes are not worth a read of their own.  They come out again as what
 * was read is looked through for zeroes, so it has to be. */
static uint64_t absorbed(const struct copy_plan *p)
{
	return p->job->backing || p->share || p->job->flags & IMG_COPY_OFFLOAD
		   ? 0
		   : ABSORB_LEN;
}

/*
 * Data up to `limit` bytes of the run, with holes that are too short; sharing
 * cannot be done with what is packed.
 */
static int extend_data(
    struct copy_plan *p, struct copy_run *run, uint64_t limit, struct err *e)
{
	uint64_t absorb = absorbed(p);
	bool packed = p->x.packed;

	while (run->len < limit) {
		uint64_t n;

		if (look(p, e))
			return -1;
		n = min_u64(p->x.len, limit - run->len);
		if ((kind_of(p) != COPY_DATA && p->x.len >= absorb) ||
		    (p->share && p->x.packed != packed))
			n = min_u64(n, to_unit_end(p));
		if (!n)
			return 0;
		move_on(p, run, n);
	}
	return 0;
}

/* Bytes of the current extent that are whole units, or all that is left. */
static uint64_t whole_units(const struct copy_plan *p, uint64_t left)
{
	uint64_t end = p->job->dst_off + p->pos + p->x.len;
	uint64_t rest = end % p->grain;

	if (p->x.len == left)
		return left;
	return p->x.len > rest ? p->x.len - rest : 0;
}

/* Up to `end` bytes, which is inside one unit: of the run's kind, or data. */
static int extend_unit(
    struct copy_plan *p, struct copy_run *run, uint64_t end, struct err *e)
{
	while (run->len < end) {
		if (look(p, e))
			return -1;
		if (kind_of(p) != run->kind)
			run->kind = COPY_DATA;
		move_on(p, run, min_u64(p->x.len, end - run->len));
	}
	return 0;
}

int copy_plan_next(struct copy_plan *p, struct copy_run *run, struct err *e)
{
	uint64_t left, limit, unit_end;

	if (p->pos == p->total)
		return 0;
	if (look(p, e))
		return -1;
	left = src_left(p);
	*run = (struct copy_run){
	    .kind = kind_of(p),
	    .pos = p->pos,
	    .src = p->job->src[p->src_ix],
	    .src_off = p->src_off,
	};
	if (run->kind != COPY_DATA && whole_units(p, left)) {
		move_on(p, run, whole_units(p, left));
		return 1;
	}
	limit = unit_end = min_u64(to_unit_end(p), left);
	if (!limit) {
		unit_end = min_u64(p->grain, left);
		limit = p->chunk - (p->job->dst_off + p->pos) % p->chunk;
		limit = min_u64(limit, left);
	}
	if (run->kind != COPY_DATA) {
		if (extend_unit(p, run, unit_end, e))
			return -1;
		if (run->kind != COPY_DATA)
			return 1;
	}
	return extend_data(p, run, limit, e) ? -1 : 1;
}
