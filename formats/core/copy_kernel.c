/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Copies that never leave the kernel: from the host file of a source to that
 * of the target, where both hold the plain guest bytes.
 *
 * Nothing encrypted is copied like that.  Either both files own the same blocks
 * afterwards (IMG_COPY_SHARE), or the kernel moves the bytes
 * (IMG_COPY_OFFLOAD).  Blocks are shared whole: what is in front of the first
 * one and behind the last one is read and written.
 */
#include "copy.h"
#include "map.h"
#include "request.h"

/* A part of the target, as host bytes. */
struct place {
	struct hostfile *file;
	uint64_t host, len;
	bool zeroed;
};

/* 1 found, 0 not plain bytes that may be written, -1 failed. */
static int find_place(struct image *dst, const struct copy_piece *p,
    uint64_t at, struct place *out, struct err *e)
{
	struct extent x;

	if (dst->cipher)
		return 0;
	if (p->reserved) {
		*out = (struct place){
		    .file = p->r.file,
		    .host = p->r.host + (p->guest + at - p->r.guest),
		    .len = p->len - at,
		    .zeroed = p->r.zeroed,
		};
		return 1;
	}
	if (layer_map(dst, p->guest + at, p->len - at, &x, e))
		return -1;
	*out = (struct place){.file = x.file, .host = x.host, .len = x.len};
	return extent_in_place(&x);
}

/* ---- sharing ------------------------------------------------------------ */

bool copy_share_possible(const struct img_copy *job)
{
	if (!(job->flags & IMG_COPY_SHARE) || !job->sparse_len ||
	    job->flags & (IMG_COPY_PACK | IMG_COPY_SALVAGE) || job->dst->cipher)
		return false;
	for (size_t i = 0; i < job->src_n; i++)
		for (struct image *l = job->src[i]; l; l = l->backing)
			if (host_clone_unit(job->dst->file, l->file))
				return true;
	return false;
}

/* What blocks of this file are shared in; asked once for each of a row. */
static uint32_t share_unit(struct copy_chunk *c, struct hostfile *src)
{
	if (c->share_src != src) {
		c->share_src = src;
		c->share_unit = host_clone_unit(c->job->dst->file, src);
	}
	return c->share_unit;
}

/* Does the extent lie in its blocks as its guest bytes will in the target? */
static bool can_share(
    struct copy_chunk *c, const struct extent *x, uint64_t guest)
{
	uint32_t unit, dst_unit = c->job->dst->unit;

	switch (x->kind) {
	case EXT_HOLE:
	case EXT_ZERO:
		return true;
	case EXT_DATA:
		break;
	case EXT_PACKED:
		return false;
	}
	if (x->flags & EXT_F_CRYPT)
		return false;
	unit = share_unit(c, x->file);
	return unit && (dst_unit == 1 || dst_unit >= unit) &&
	       is_aligned(x->host - guest, unit);
}

bool copy_share_wanted(struct copy_chunk *c)
{
	struct image *src = c->run.src;
	struct err ignored = ERR_INIT;
	struct chain_extent from;
	bool wanted = c->share;
	unsigned pin;

	if (!wanted)
		return false;
	pin = request_enter(src);
	for (uint64_t at = 0; wanted && at < c->run.len; at += from.x.len)
		wanted = !chain_map(src, c->run.src_off + at, c->run.len - at,
			     &from, &ignored) &&
			 can_share(c, &from.x, c->guest + at);
	request_leave(src, pin);
	return wanted;
}

/* What is not a whole block: through memory. */
static int copy_bytes(const struct copy_chunk *c, const struct place *to,
    const struct extent *x, uint64_t len, struct err *e)
{
	if (host_pread(x->file, c->buf, len, x->host, e))
		return -1;
	return host_pwrite(to->file, c->buf, len, to->host, e);
}

/* As copy_extent(): the start of the extent, up to where blocks begin or end.
 */
static int64_t share_extent(struct copy_chunk *c, const struct place *to,
    const struct extent *x, struct err *e)
{
	uint64_t unit = share_unit(c, x->file), len = x->len, end;
	int rc;

	if (!unit || !is_aligned(to->host - x->host, unit))
		return 0;
	end = round_down(min_u64(x->host + len, host_size(x->file)), unit);
	if (is_aligned(x->host, unit) && end > x->host) {
		len = end - x->host;
		rc = host_clone(to->file, to->host, x->file, x->host, len, e);
		return rc > 0 ? (int64_t)len : rc;
	}
	end = round_up(x->host, unit);
	if (end > x->host)
		len = min_u64(len, end - x->host);
	return copy_bytes(c, to, x, len, e) ? -1 : (int64_t)len;
}

/* ---- pieces ------------------------------------------------------------- */

static int64_t copy_data(struct copy_chunk *c, const struct place *to,
    const struct extent *x, struct err *e)
{
	int64_t n = c->share ? share_extent(c, to, x, e) : 0;

	if (n || !(c->job->flags & IMG_COPY_OFFLOAD))
		return n;
	return host_copy(to->file, to->host, x->file, x->host, x->len, e);
}

/* Returns the bytes done from the start; 0: it cannot be done, -1 failed. */
static int64_t copy_extent(struct copy_chunk *c, const struct place *to,
    const struct extent *x, struct err *e)
{
	switch (x->kind) {
	case EXT_DATA:
		return x->flags & EXT_F_CRYPT ? 0 : copy_data(c, to, x, e);
	case EXT_HOLE:
	case EXT_ZERO:
		if (!to->zeroed && host_zero(to->file, to->host, x->len, 0, e))
			return -1;
		return (int64_t)x->len;
	case EXT_PACKED:
		break;
	}
	return 0;
}

static int copy_extents(
    struct copy_chunk *c, const struct copy_piece *piece, struct err *e)
{
	uint64_t src = c->run.src_off + (piece->guest - c->guest);

	for (uint64_t at = 0; at < piece->len;) {
		struct chain_extent from;
		struct place to;
		int64_t n;
		int rc = find_place(c->job->dst, piece, at, &to, e);

		if (rc <= 0)
			return rc;
		if (chain_map(c->run.src, src + at, to.len, &from, e))
			return -1;
		n = copy_extent(c, &to, &from.x, e);
		if (n <= 0)
			return (int)n;
		at += (uint64_t)n;
	}
	return 1;
}

int copy_in_kernel(
    struct copy_chunk *c, const struct copy_piece *piece, struct err *e)
{
	unsigned pin = request_enter(c->run.src);
	int rc = copy_extents(c, piece, e);

	request_leave(c->run.src, pin);
	return rc;
}
