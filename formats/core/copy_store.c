/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Chunks of a copy: writing to the target.
 *
 * Data in whole units goes into reservations of its own, which may be written
 * and published in any order.  What lies in place already, and units that are
 * covered in part only, are written as any other write is.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "copy.h"
#include "crypt.h"
#include "map.h"
#include "zero.h"

#define SPARSE_GRAIN 4096u /* zeroes inside new units, left as holes */

static struct copy_piece *add_piece(
    struct copy_chunk *c, uint64_t len, uint64_t guest, struct err *e)
{
	size_t max = c->max ? c->max * 2 : 16;

	if (c->n == c->max) {
		struct copy_piece *more =
		    reallocarray(c->piece, max, sizeof *more);

		if (!more) {
			err_nomem(e);
			return NULL;
		}
		c->piece = more;
		c->max = max;
	}
	c->piece[c->n] = (struct copy_piece){.guest = guest, .len = len};
	return &c->piece[c->n++];
}

static void abandon(struct copy_chunk *c, size_t first)
{
	for (size_t i = first; i < c->n; i++)
		if (c->piece[i].reserved)
			write_abandon(c->job->dst, &c->piece[i].r);
	c->n = 0;
}

/* ---- where it goes ------------------------------------------------------ */

static int reserve_piece(struct copy_chunk *c, uint64_t len, uint64_t guest,
    size_t stored, struct err *e)
{
	struct copy_piece *p = add_piece(c, len, guest, e);

	if (!p)
		return -1;
	if (write_reserve(c->job->dst, guest, len, stored, &p->r, e)) {
		c->n--;
		return -1;
	}
	p->reserved = true;
	p->len = min_u64(len, p->r.guest + p->r.len - guest);
	return 0;
}

/* The start of whole units; *done: how much. */
static int place_units(struct copy_chunk *c, uint64_t len, uint64_t guest,
    uint64_t *done, struct err *e)
{
	struct image *dst = c->job->dst;
	struct extent x;

	if (layer_map(dst, guest, len, &x, e))
		return -1;
	/* write_range() also knows what to say of damaged mappings. */
	if (extent_in_place(&x) || (x.flags & EXT_F_META)) {
		*done = x.len;
		return add_piece(c, x.len, guest, e) ? 0 : -1;
	}
	/* A unit that moves takes all of its bytes along. */
	len = min_u64(len, round_up(guest + x.len, dst->unit) - guest);
	if (reserve_piece(c, len, guest, 0, e))
		return -1;
	*done = c->piece[c->n - 1].len;
	return 0;
}

/* Bytes at the start of a range that are not a whole unit; 0: it is one. */
static uint64_t partial_unit(
    const struct image *dst, uint64_t len, uint64_t guest)
{
	uint64_t n = min_u64(len, dst->unit - guest % dst->unit);

	return n == dst->unit || (is_aligned(guest, dst->unit) &&
				     guest + n == img_size(dst))
		   ? 0
		   : n;
}

static int place_data(
    struct copy_chunk *c, uint64_t len, uint64_t guest, struct err *e)
{
	struct image *dst = c->job->dst;
	uint64_t done;

	if (!dst->drv->reserve)
		return add_piece(c, len, guest, e) ? 0 : -1;
	for (; len; guest += done, len -= done) {
		done = partial_unit(dst, len, guest);
		if (done) {
			if (write_range(dst, c->buf + (guest - c->guest), done,
				guest, e))
				return -1;
			continue;
		}
		done = len;
		if (guest + len != img_size(dst))
			done = round_down(len, dst->unit);
		if (place_units(c, done, guest, &done, e))
			return -1;
	}
	return 0;
}

/* Past the end of the backing file an image reads as zeroes by itself: how much
 * of the range is not to be touched for that? */
static int zero_tail(const struct img_copy *job, uint64_t len, uint64_t guest,
    uint64_t *tail, struct err *e)
{
	const struct image *below = job->dst->backing;
	uint64_t start;
	int zero;

	*tail = 0;
	if (!below || job->flags & IMG_COPY_EXPLICIT)
		return 0;
	start = max_u64(guest, img_size(below));
	if (start >= guest + len)
		return 0;
	zero = chain_is_zero(job->dst, start, guest + len - start, e);
	if (zero > 0)
		*tail = guest + len - start;
	return zero < 0 ? -1 : 0;
}

int copy_zero(
    const struct img_copy *job, uint64_t len, uint64_t guest, struct err *e)
{
	struct image *dst = job->dst;
	uint64_t tail;

	if (zero_tail(job, len, guest, &tail, e))
		return -1;
	return zero_range(dst, len - tail, guest,
	    dst->flags & IMG_O_DISCARD ? IMG_MAY_TRIM : 0, e);
}

static int place_part(
    struct copy_chunk *c, struct zero_run part, uint64_t guest, struct err *e)
{
	if (!part.zero)
		return place_data(c, part.len, guest, e);
	return c->target_zero ? 0 : copy_zero(c->job, part.len, guest, e);
}

static int place_parts(struct copy_chunk *c, struct err *e)
{
	uint64_t guest = c->guest;

	for (size_t i = 0; i < c->part_n; guest += c->part[i++].len)
		if (place_part(c, c->part[i], guest, e))
			return -1;
	return 0;
}

static int failed_at(uint64_t pos, struct err *e)
{
	err_prefix(
	    e, "error while writing at byte %llu: ", (unsigned long long)pos);
	return -1;
}

int copy_reserve(struct copy_chunk *c, struct err *e)
{
	int rc;

	if (c->packed_len)
		rc = reserve_piece(c, c->run.len, c->guest, c->packed_len, e);
	else
		rc = place_parts(c, e);
	if (!rc)
		return 0;
	abandon(c, 0);
	return failed_at(c->run.pos, e);
}

/* ---- the bytes ------------------------------------------------------- */

/* What the reservation has past the data: the end of the disk cuts a unit. */
static int clear_tail(const struct copy_piece *p, struct err *e)
{
	uint64_t end = p->r.guest + p->r.len, at = p->guest + p->len;

	if (p->r.zeroed || at >= end)
		return 0;
	return host_zero(
	    p->r.file, p->r.host + (at - p->r.guest), end - at, 0, e);
}

/* New space that reads as zeroes gets no zeroes. */
static int write_sparse(const struct copy_chunk *c, const struct copy_piece *p,
    const uint8_t *buf, struct err *e)
{
	uint64_t host = p->r.host + (p->guest - p->r.guest);
	uint32_t min = p->r.zeroed ? c->job->sparse_len : 0;
	struct zero_run run;

	for (uint64_t at = 0; at < p->len; at += run.len) {
		run = zero_run_first(buf + at, p->len - at, SPARSE_GRAIN, min);
		if (!run.zero &&
		    host_pwrite(p->r.file, buf + at, run.len, host + at, e))
			return -1;
	}
	return clear_tail(p, e);
}

/* All of the reservation, with zeroes behind the data. */
static int write_crypt(const struct copy_chunk *c, const struct copy_piece *p,
    const uint8_t *buf, struct err *e)
{
	uint64_t end = p->r.guest + p->r.len, at = p->guest + p->len;
	struct iovec iov[2] = {{(void *)buf, p->len}};
	int n = 1;

	if (at < end)
		iov[n++] = (struct iovec){NULL, end - at};
	return crypt_pwritev(c->job->dst, p->r.file, iov, n,
	    p->r.host + (p->guest - p->r.guest), p->guest, e);
}

/* The bytes of a piece, which buf holds. */
static int write_bytes(
    struct copy_chunk *c, const struct copy_piece *p, struct err *e)
{
	const uint8_t *buf = c->buf + (p->guest - c->guest);

	if (c->packed_len)
		return host_pwrite(
		    p->r.file, c->packed, c->packed_len, p->r.host, e);
	if (p->reserved)
		return (c->job->dst->cipher ? write_crypt : write_sparse)(
		    c, p, buf, e);
	return write_range(c->job->dst, buf, p->len, p->guest, e);
}

/* The data first, then what points to it (I2). */
static int store_piece(
    struct copy_chunk *c, const struct copy_piece *p, struct err *e)
{
	int done = c->loaded ? 0 : copy_in_kernel(c, p, e);

	if (done == 0) {
		if (!c->loaded && copy_load(c, e))
			return -1;
		done = write_bytes(c, p, e);
	} else if (done > 0 && p->reserved) {
		done = clear_tail(p, e);
	}
	return done < 0 ? failed_at(c->run.pos, e) : 0;
}

int copy_store(struct copy_chunk *c, struct err *e)
{
	for (size_t i = 0; i < c->n; i++) {
		const struct copy_piece *p = &c->piece[i];

		if (store_piece(c, p, e)) {
			abandon(c, i);
			return -1;
		}
		if (p->reserved && write_publish(c->job->dst, &p->r, e)) {
			abandon(c, i + 1);
			return failed_at(c->run.pos, e);
		}
	}
	return 0;
}
