/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Writing stream-optimized extents: a log of packed grains.
 *
 * Layout of the specification: header (GD_AT_END), descriptor, then grains,
 * each after its marker; each grain table after its grains; the directory, the
 * footer and an end-of-stream marker.
 *
 * From the first write on the tables are in memory, and the header says that
 * the extent is not closed; the footer is cut off before a grain takes its
 * place.  A grain's marker is written after its data, when it is published.
 * So a crash, or an image that was never closed, loses nothing that was
 * flushed: the tables are read from the markers (stream_scan.c).  When the
 * image is closed, tables and footer are written, and the header is the last.
 *
 * A grain that is written again goes to the end too, and the later one counts.
 *
 * Locks: meta, as in vmdk.h; finish runs when no request does.
 */
#include <errno.h>
#include <stdlib.h>

#include "stream.h"

/* ---- tables in memory ------------------------------------------------------
 */

struct vmdk_stream *vmdk_stream_new(struct vmdk_extent *x, struct err *e)
{
	struct vmdk_stream *s;

	if (x->gd_n > VMDK_STREAM_GD_N_MAX) {
		err_unsupported(e,
		    "%s: a stream of %llu grain tables: at most %u are "
		    "supported here",
		    x->file->name, (unsigned long long)x->gd_n,
		    VMDK_STREAM_GD_N_MAX);
		return NULL;
	}
	s = calloc(1, sizeof *s);
	if (s)
		s->gt = calloc(x->gd_n + 1, sizeof(*s->gt));
	if (!s || !s->gt) {
		free(s);
		err_nomem(e);
		return NULL;
	}
	s->current = UINT64_MAX;
	return s;
}

void vmdk_stream_delete(struct vmdk_stream *s, uint64_t gd_n)
{
	if (!s)
		return;
	for (uint64_t i = 0; i < gd_n; i++)
		free(s->gt[i]);
	free(s->gt);
	free(s);
}

void vmdk_stream_free(struct vmdk_extent *x)
{
	vmdk_stream_delete(take(x->stream), x->gd_n);
}

struct vmdk_gt *vmdk_stream_gt(
    struct vmdk_extent *x, struct vmdk_stream *s, uint64_t gd_ix, struct err *e)
{
	if (!s->gt[gd_ix])
		s->gt[gd_ix] =
		    calloc(1, sizeof(struct vmdk_gt) + 4 * (size_t)x->gt_n);
	if (!s->gt[gd_ix])
		err_nomem(e);
	return s->gt[gd_ix];
}

uint32_t vmdk_stream_get(const struct vmdk_extent *x, uint64_t grain_ix)
{
	const struct vmdk_gt *gt = x->stream->gt[grain_ix / x->gt_n];

	return gt ? gt->entry[grain_ix % x->gt_n] : 0;
}

uint64_t vmdk_stream_next(
    const struct vmdk_extent *x, uint64_t grain_ix, uint64_t end_ix)
{
	while (grain_ix < end_ix) {
		const struct vmdk_gt *gt = x->stream->gt[grain_ix / x->gt_n];

		if (!gt)
			grain_ix = round_down(grain_ix, x->gt_n) + x->gt_n;
		else if (gt->entry[grain_ix % x->gt_n])
			break;
		else
			grain_ix++;
	}
	return min_u64(grain_ix, end_ix);
}

int vmdk_stream_recover(struct vmdk_extent *x, struct err *e)
{
	struct vmdk_stream *s = vmdk_stream_new(x, e);

	if (!s)
		return -1;
	x->stream = s;
	s->open = true;
	return vmdk_stream_scan(x, s, false, e);
}

/* ---- the first write
 * ---------------------------------------------------------
 */

static int bad_stream(const struct vmdk_extent *x, struct err *e)
{
	return err_set(e, ERR_UNSUPPORTED, EROFS,
	    "%s: its tables and its markers do not agree: it can be read, not "
	    "written",
	    x->file->name);
}

/* Do the tables of the file say what the markers say?  Those that do stay. */
static int take_table(
    struct vmdk_extent *x, struct vmdk_stream *s, uint64_t gd_ix, struct err *e)
{
	struct vmdk_gt *gt = s->gt[gd_ix];
	struct table *t;
	uint64_t host;
	bool same = true;

	if (vmdk_gde(x, x->gd_host, gd_ix, &host, e))
		return -1;
	if (!host)
		return gt ? bad_stream(x, e) : 0;
	t = tables_get(x->tables, host, x->gt_len, TABLE_MAP, e);
	if (!t)
		return -1;
	for (uint32_t i = 0; i < x->gt_n && same; i++)
		same = le32(t->data + 4 * (size_t)i) == (gt ? gt->entry[i] : 0);
	tables_put(x->tables, t);
	if (!same)
		return bad_stream(x, e);
	/* One in front of the stream has no marker: it gets a new place. */
	if (gt && host > x->h.overhead * SECTOR_LEN)
		gt->sector = (uint32_t)(host / SECTOR_LEN);
	else if (gt)
		gt->changed = true;
	return 0;
}

static int load(struct vmdk_extent *x, struct vmdk_stream *s, struct err *e)
{
	if (vmdk_stream_scan(x, s, true, e))
		return -1;
	for (uint64_t i = 0; i < x->gd_n; i++)
		if (take_table(x, s, i, e))
			return -1;
	return 0;
}

/* The header first: without it the missing footer would be damage. */
int vmdk_stream_begin(struct vmdk_extent *x, struct err *e)
{
	struct vmdk_stream *s = x->stream;

	if (s && s->begun)
		return 0;
	if (!s) {
		s = vmdk_stream_new(x, e);
		if (!s)
			return -1;
		x->stream = s;
		if (load(x, s, e)) {
			vmdk_stream_free(x);
			return -1;
		}
	}
	x->h.unclean = true;
	if (vmdk_header_write(x->file, &x->h, e) || host_sync(x->file, e) ||
	    host_truncate(x->file, s->end, e) || host_sync(x->file, e))
		return -1;
	s->open = s->begun = true;
	return 0;
}

/* ---- reserve, publish
 * --------------------------------------------------------
 */

static void put_marker(uint8_t *p, uint64_t value, uint32_t len, uint32_t type)
{
	put_le64(p, value);
	put_le32(p + 8, len);
	put_le32(p + 12, type);
}

static int full(const struct vmdk_extent *x, struct err *e)
{
	return err_set(e, ERR_SYSTEM, ENOSPC,
	    "%s: a sparse extent takes at most 2 TiB", x->file->name);
}

/* The next piece of the log. */
static int extend(
    struct vmdk_extent *x, uint64_t len, uint64_t *host, struct err *e)
{
	uint64_t end;

	*host = x->stream->end;
	if (!add_ok(*host, round_up(len, SECTOR_LEN), &end) ||
	    end > VMDK_HOST_MAX)
		return full(x, e);
	x->stream->end = end;
	return 0;
}

/* The table gets its place after its grains; its bytes come later. */
static int place_table(struct vmdk_extent *x, struct vmdk_gt *gt, struct err *e)
{
	uint8_t mark[SECTOR_LEN] = {0};
	uint64_t room = vmdk_table_room(x), host;

	if (extend(x, SECTOR_LEN + room, &host, e))
		return -1;
	put_marker(mark, room / SECTOR_LEN, 0, VMDK_MARK_GT);
	gt->sector = (uint32_t)(host / SECTOR_LEN + 1);
	gt->changed = true;
	return host_pwrite(x->file, mark, sizeof mark, host, e);
}

/* A table is full, as far as the order of writing tells: it gets its place. */
static int move_on(struct vmdk_extent *x, uint64_t gd_ix, struct err *e)
{
	struct vmdk_stream *s = x->stream;
	struct vmdk_gt *last =
	    s->current == UINT64_MAX ? NULL : s->gt[s->current];

	if (s->current != gd_ix && last && !last->sector &&
	    place_table(x, last, e))
		return -1;
	s->current = gd_ix;
	return vmdk_stream_gt(x, s, gd_ix, e) ? 0 : -1;
}

int vmdk_stream_reserve(struct vmdk_extent *x, uint64_t guest, uint64_t stored,
    struct reservation *r, struct err *e)
{
	uint64_t grain_ix = (guest - x->guest) / x->grain_len;

	if (!stored)
		return err_usage(
		    e, "%s: only packed grains can be stored", x->file->name);
	if (vmdk_stream_begin(x, e) || move_on(x, grain_ix / x->gt_n, e) ||
	    extend(x, VMDK_MARK_LEN + stored, &r->host, e))
		return -1;
	r->host += VMDK_MARK_LEN;
	r->guest = x->guest + grain_ix * x->grain_len;
	r->len = x->grain_len;
	r->file = x->file;
	r->stored = stored;
	return 0;
}

int vmdk_stream_publish(
    struct vmdk_extent *x, const struct reservation *r, struct err *e)
{
	uint64_t grain_ix = (r->guest - x->guest) / x->grain_len;
	uint64_t host = r->host - VMDK_MARK_LEN;
	struct vmdk_gt *gt = x->stream->gt[grain_ix / x->gt_n];
	uint8_t mark[VMDK_MARK_LEN];

	put_le64(mark, grain_ix * (x->grain_len / SECTOR_LEN));
	put_le32(mark + 8, (uint32_t)r->stored);
	if (host_pwrite(x->file, mark, sizeof mark, host, e))
		return -1;
	gt->entry[grain_ix % x->gt_n] = (uint32_t)(host / SECTOR_LEN);
	gt->changed = true;
	return 0;
}

/* The last one goes back; another is passed over by who recovers. */
void vmdk_stream_abandon(struct vmdk_extent *x, const struct reservation *r)
{
	uint64_t end = round_up(r->host + r->stored, SECTOR_LEN);

	if (x->stream->end == end)
		x->stream->end = r->host - VMDK_MARK_LEN;
}

/* ---- the end
 * ------------------------------------------------------------------
 */

static int write_table(struct vmdk_extent *x, struct vmdk_gt *gt, struct err *e)
{
	uint8_t buf[4 * VMDK_GT_N];

	for (uint32_t i = 0; i < x->gt_n; i++)
		put_le32(buf + 4 * (size_t)i, gt->entry[i]);
	if (host_pwrite(
		x->file, buf, x->gt_len, (uint64_t)gt->sector * SECTOR_LEN, e))
		return -1;
	gt->changed = false;
	return 0;
}

static int write_tables(struct vmdk_extent *x, struct err *e)
{
	for (uint64_t i = 0; i < x->gd_n; i++) {
		struct vmdk_gt *gt = x->stream->gt[i];

		if (!gt)
			continue;
		if (!gt->sector && place_table(x, gt, e))
			return -1;
		if (gt->changed && write_table(x, gt, e))
			return -1;
	}
	return 0;
}

/* The directory after its marker. */
static int write_gd(struct vmdk_extent *x, struct err *e)
{
	uint64_t room = vmdk_gd_room(x), host;
	CLEANUP_FREE uint8_t *buf = calloc(1, SECTOR_LEN + room);

	if (!buf)
		return err_nomem(e);
	if (extend(x, SECTOR_LEN + room, &host, e))
		return -1;
	put_marker(buf, room / SECTOR_LEN, 0, VMDK_MARK_GD);
	for (uint64_t i = 0; i < x->gd_n; i++) {
		const struct vmdk_gt *gt = x->stream->gt[i];

		put_le32(buf + SECTOR_LEN + 4 * i, gt ? gt->sector : 0);
	}
	x->gd_host = host + SECTOR_LEN;
	return host_pwrite(x->file, buf, SECTOR_LEN + room, host, e);
}

int vmdk_footer_write(struct vmdk_extent *x, uint64_t host, struct err *e)
{
	uint8_t buf[3 * SECTOR_LEN] = {0};
	struct vmdk_header footer = x->h;

	footer.gd = x->gd_host / SECTOR_LEN;
	footer.unclean = false;
	put_marker(buf, 1, 0, VMDK_MARK_FOOTER);
	vmdk_header_pack(&footer, buf + SECTOR_LEN);
	return host_pwrite(x->file, buf, sizeof buf, host, e);
}

static int write_footer(struct vmdk_extent *x, struct err *e)
{
	uint64_t host;

	x->h.flags &= ~VMDK_F_REDUNDANT;
	x->h.rgd = 0;
	x->h.gd = VMDK_GD_AT_END;
	return extend(x, 3 * SECTOR_LEN, &host, e) ||
		       vmdk_footer_write(x, host, e)
		   ? -1
		   : 0;
}

/* What was abandoned may reach past the end. */
int vmdk_stream_finish(struct vmdk_extent *x, struct err *e)
{
	struct vmdk_stream *s = x->stream;

	if (!s || !s->open)
		return 0;
	if (host_size(x->file) > s->end && host_truncate(x->file, s->end, e))
		return -1;
	if (write_tables(x, e) || write_gd(x, e) || write_footer(x, e) ||
	    host_sync(x->file, e))
		return -1;
	x->h.unclean = false;
	if (vmdk_header_write(x->file, &x->h, e) || host_sync(x->file, e))
		return -1;
	s->open = s->begun = false;
	return 0;
}
