/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Copies that never leave the kernel: from the host file of a source to that
 * of the target, where both hold the plain guest bytes.
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

/* Returns the bytes done; 0: it cannot be done, -1 failed. */
static int64_t copy_extent(
    const struct place *to, const struct extent *x, struct err *e)
{
	switch (x->kind) {
	case EXT_DATA:
		if (x->flags & EXT_F_CRYPT)
			return 0;
		return host_copy(
		    to->file, to->host, x->file, x->host, x->len, e);
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
    const struct copy_chunk *c, const struct copy_piece *piece, struct err *e)
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
		n = copy_extent(&to, &from.x, e);
		if (n <= 0)
			return (int)n;
		at += (uint64_t)n;
	}
	return 1;
}

int copy_in_kernel(
    const struct copy_chunk *c, const struct copy_piece *piece, struct err *e)
{
	unsigned pin = request_enter(c->run.src);
	int rc = copy_extents(c, piece, e);

	request_leave(c->run.src, pin);
	return rc;
}
