/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Reading the tables of a stream from its markers.
 *
 * What follows the end of one piece is the marker of the next; of a file that
 * was not closed there may be holes between them, where writes were under way.
 * There every sector is looked at, and a marker counts when its grain unpacks,
 * which checks the sum of its bytes.
 */
#include <stdlib.h>

#include "stream.h"

#define WINDOW_LEN (256u << 10)

struct scan {
	struct vmdk_extent *x;
	struct vmdk_stream *s;
	bool whole;
	uint64_t len;	   /* of the file, bytes */
	uint64_t split_ix; /* grains from this one on are ... */
	uint64_t first;	   /* ... at this host byte, or behind it */
	bool mixed;	   /* and one before it is behind that */
	uint64_t at;	   /* host byte of the window */
	size_t have;	   /* bytes in it */
	uint8_t window[WINDOW_LEN];
	uint8_t *stored, *grain; /* to unpack */
};

struct marker {
	uint64_t host, value;
	uint32_t len, type; /* len > 0: a grain */
};

static int read_marker(
    struct scan *n, uint64_t host, struct marker *m, struct err *e)
{
	const uint8_t *p;

	if (host < n->at || host + SECTOR_LEN > n->at + n->have) {
		n->have = min_u64(WINDOW_LEN, n->len - host);
		n->at = host;
		if (host_pread(n->x->file, n->window, n->have, host, e))
			return -1;
	}
	p = n->window + (host - n->at);
	*m = (struct marker){host, le64(p), le32(p + 8), le32(p + 12)};
	return 0;
}

static bool unpacks_to(struct scan *n, const struct marker *m, uint64_t len)
{
	struct err no = ERR_INIT;

	return !codec_unpack(
		   CODEC_ZLIB, n->grain, len, n->stored, m->len, &no) &&
	       codec_zlib_whole(n->grain, len, n->stored, m->len);
}

/* 1 it does, 0 it does not, -1 failed.  The end of the disk may have cut the
 * last one. */
static int unpacks(struct scan *n, const struct marker *m, struct err *e)
{
	uint64_t left = (n->x->h.capacity - m->value) * SECTOR_LEN;

	if (host_pread(
		n->x->file, n->stored, m->len, m->host + VMDK_MARK_LEN, e))
		return -1;
	return unpacks_to(n, m, n->x->grain_len) ||
	       (left < n->x->grain_len && unpacks_to(n, m, left));
}

/* The length of a grain with its marker; 0: it is none, -1 failed. */
static int64_t take_grain(struct scan *n, const struct marker *m, struct err *e)
{
	uint64_t sectors = n->x->grain_len / SECTOR_LEN;
	uint64_t grain_ix = m->value / sectors;
	struct vmdk_gt *gt;
	int rc;

	if (m->value % sectors || m->value >= n->x->h.capacity ||
	    grain_ix >= n->x->gd_n * n->x->gt_n ||
	    m->len > 2 * n->x->grain_len ||
	    !range_ok(m->host + VMDK_MARK_LEN, m->len, n->len) ||
	    m->host / SECTOR_LEN > UINT32_MAX)
		return 0;
	rc = n->whole ? 1 : unpacks(n, m, e);
	if (rc <= 0)
		return rc;
	if (grain_ix >= n->split_ix)
		n->first = min_u64(n->first, m->host);
	else if (n->first < m->host)
		n->mixed = true;
	gt = vmdk_stream_gt(n->x, n->s, grain_ix / n->x->gt_n, e);
	if (!gt)
		return -1;
	gt->entry[grain_ix % n->x->gt_n] = (uint32_t)(m->host / SECTOR_LEN);
	if (!n->whole)
		gt->changed = true;
	return (int64_t)round_up(VMDK_MARK_LEN + m->len, SECTOR_LEN);
}

/* The same of metadata; the stream of a closed file ends with what is no
 * table, and *end is set. */
static int64_t take_other(struct scan *n, const struct marker *m, bool *end)
{
	uint64_t room = m->value * SECTOR_LEN;

	if (m->type == VMDK_MARK_GT && room == vmdk_table_room(n->x))
		return (int64_t)(SECTOR_LEN + room);
	if (n->whole) {
		*end = m->type <= VMDK_MARK_FOOTER && m->type != VMDK_MARK_GT;
		return 0;
	}
	if (m->type == VMDK_MARK_GD && room == vmdk_gd_room(n->x))
		return (int64_t)(SECTOR_LEN + room);
	return 0;
}

static int walk(struct scan *n, struct err *e)
{
	uint64_t host = n->s->end;
	bool end = false;

	while (!end && range_ok(host, SECTOR_LEN, n->len)) {
		struct marker m;
		int64_t len;

		if (read_marker(n, host, &m, e))
			return -1;
		len = m.len ? take_grain(n, &m, e) : take_other(n, &m, &end);
		if (len < 0)
			return -1;
		if (end)
			break;
		if (!len && n->whole)
			return err_damaged(e,
			    "%s: no marker of a stream at %llu",
			    n->x->file->name, (unsigned long long)host);
		host += len ? (uint64_t)len : SECTOR_LEN;
		if (len)
			n->s->end = host;
	}
	return 0;
}

static int scan(struct scan *n, struct err *e)
{
	const struct vmdk_extent *x = n->x;
	int rc = -1;

	/* The last grain may end inside a sector. */
	n->len = round_up(host_size(x->file), SECTOR_LEN);
	n->stored = malloc(2 * x->grain_len);
	n->grain = malloc(x->grain_len);
	if (x->h.overhead > UINT32_MAX)
		err_damaged(e, "%s: sparse header: overhead of %llu sectors",
		    x->file->name, (unsigned long long)x->h.overhead);
	else if (!n->stored || !n->grain)
		err_nomem(e);
	else {
		n->s->end = max_u64(x->h.overhead, 1) * SECTOR_LEN;
		rc = walk(n, e);
	}
	free(n->stored);
	free(n->grain);
	return rc;
}

int vmdk_stream_scan(
    struct vmdk_extent *x, struct vmdk_stream *s, bool whole, struct err *e)
{
	struct scan *n = calloc(1, sizeof *n);
	int rc;

	if (!n)
		return err_nomem(e);
	*n = (struct scan){
	    .x = x, .s = s, .whole = whole, .split_ix = UINT64_MAX};
	rc = scan(n, e);
	free(n);
	return rc;
}

int vmdk_stream_find(struct vmdk_extent *x, bool whole, uint64_t split_ix,
    uint64_t *host, struct err *e)
{
	struct vmdk_stream *s = vmdk_stream_new(x, e);
	struct scan *n = s ? calloc(1, sizeof *n) : NULL;
	int rc;

	if (!n) {
		vmdk_stream_delete(s, x->gd_n);
		return err_nomem(e);
	}
	*n = (struct scan){.x = x,
	    .s = s,
	    .whole = whole,
	    .split_ix = split_ix,
	    .first = UINT64_MAX};
	rc = scan(n, e);
	*host = min_u64(n->first, s->end);
	if (!rc && n->mixed)
		rc = err_unsupported(e,
		    "%s: its grains are not in the order of the disk: it "
		    "cannot shrink; convert it",
		    x->file->name);
	vmdk_stream_delete(s, x->gd_n);
	free(n);
	return rc;
}
