/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * VHDX's part in an allocating write: reserve, publish, abandon, release.
 *
 * A block is large, and a write reserves only what it covers of it, in sectors.
 * New space of a block reads as zeroes; several writers may fill their parts of
 * it at the same time.  It is *pending* from the first reserve to the last
 * publish or abandon; the first publish makes it the block's.  What is not
 * covered reads as before: zeroes, or the parent's, where the sector bitmap
 * says so.
 */
#include <stdlib.h>

#include "vhdx.h"

/* ---- pending blocks --------------------------------------------------- */

static struct vhdx_pending **find_pending(struct vhdx *q, uint64_t block_ix)
{
	struct vhdx_pending **p = &q->pending;

	while (*p && (*p)->block_ix != block_ix)
		p = &(*p)->next;
	return p;
}

static struct vhdx_pending *new_pending(
    struct image *img, uint64_t block_ix, struct err *e)
{
	struct vhdx *q = vhdx_of(img);
	struct vhdx_pending *p = malloc(sizeof *p);

	if (!p) {
		err_nomem(e);
		return NULL;
	}
	*p = (struct vhdx_pending){.block_ix = block_ix, .next = q->pending};
	if (vhdx_space_take(img, q->m.block_len, &p->host, e)) {
		free(p);
		return NULL;
	}
	q->pending = p;
	return p;
}

/* One reservation less. */
static void put_pending(struct vhdx *q, struct vhdx_pending **at)
{
	struct vhdx_pending *p = *at;

	if (--p->refs)
		return;
	*at = p->next;
	if (!p->published)
		space_give(&q->space, p->host, q->m.block_len);
	free(p);
}

/* ---- reserve ---------------------------------------------------------- */

/* A block that is partly here needs a bitmap: one of zeroes is new. */
static int need_bitmap(struct image *img, uint64_t block_ix, struct err *e)
{
	uint64_t host;

	if (vhdx_bitmap_host(img, block_ix, &host, e))
		return -1;
	if (host)
		return 0;
	if (vhdx_space_take(img, VHDX_UNIT, &host, e))
		return -1;
	return vhdx_bat_set(
	    img, vhdx_bitmap_ix(vhdx_of(img), block_ix), host | VHDX_FULL, e);
}

int vhdx_reserve(struct image *img, uint64_t guest, uint64_t len,
    uint64_t stored, struct reservation *r, struct err *e)
{
	struct vhdx *q = vhdx_of(img);
	uint64_t block_ix = guest / q->m.block_len, host, entry;
	uint64_t block_end = (block_ix + 1) * q->m.block_len;
	struct vhdx_pending *p;

	(void)stored; /* nothing is packed */
	if (vhdx_block_get(img, block_ix, &entry, e) ||
	    (q->m.has_parent && need_bitmap(img, block_ix, e)))
		return -1;
	r->owned = vhdx_has_space(entry);
	host = vhdx_host(entry);
	if (!r->owned) {
		p = *find_pending(q, block_ix);
		if (!p)
			p = new_pending(img, block_ix, e);
		if (!p)
			return -1;
		p->refs++;
		host = p->host;
	}
	r->guest = round_down(guest, q->m.sector_len);
	r->len = min_u64(round_up(guest + len, q->m.sector_len), block_end) -
		 r->guest;
	r->file = img->file;
	r->host = host + r->guest % q->m.block_len;
	r->zeroed = !r->owned;
	return 0;
}

/* ---- publish, abandon ------------------------------------------------- */

/* Its sectors are in this file from now on. */
static int set_bits(struct image *img, uint64_t block_ix, uint64_t guest,
    uint64_t len, bool set, struct err *e)
{
	const struct vhdx *q = vhdx_of(img);
	uint64_t host;

	if (vhdx_bitmap_host(img, block_ix, &host, e))
		return -1;
	return vhdx_bits_put(
	    img, host, vhdx_bit(q, guest), len / q->m.sector_len, set, e);
}

/* The state of a block that had no space: partly here where what is not
 * covered is the parent's. */
static enum vhdx_state new_state(
    const struct vhdx *q, uint64_t old, const struct reservation *r)
{
	if (!q->m.has_parent || vhdx_state(old) != VHDX_NOT_PRESENT)
		return VHDX_FULL;
	return r->len == q->m.block_len && !r->space_only ? VHDX_FULL
							  : VHDX_PART;
}

static int give_space(struct image *img, uint64_t block_ix,
    const struct vhdx_pending *p, const struct reservation *r, struct err *e)
{
	struct vhdx *q = vhdx_of(img);
	enum vhdx_state state;
	uint64_t old;

	if (vhdx_block_get(img, block_ix, &old, e))
		return -1;
	state = new_state(q, old, r);
	/* Old bits mean nothing, and must not begin to. */
	if (state == VHDX_PART &&
	    set_bits(img, block_ix, block_ix * q->m.block_len, q->m.block_len,
		false, e))
		return -1;
	return vhdx_bat_set(img, vhdx_bat_ix(q, block_ix), p->host | state, e);
}

int vhdx_publish(struct image *img, const struct reservation *r, struct err *e)
{
	struct vhdx *q = vhdx_of(img);
	uint64_t block_ix = r->guest / q->m.block_len, entry;

	if (!r->owned) {
		struct vhdx_pending **at = find_pending(q, block_ix);
		bool first = !(*at)->published;
		int rc = first ? give_space(img, block_ix, *at, r, e) : 0;

		(*at)->published = true;
		put_pending(q, at);
		if (rc)
			return -1;
	}
	if (vhdx_block_get(img, block_ix, &entry, e))
		return -1;
	if (vhdx_state(entry) != VHDX_PART || r->space_only)
		return 0;
	return set_bits(img, block_ix, r->guest, r->len, true, e);
}

void vhdx_abandon(struct image *img, const struct reservation *r)
{
	struct vhdx *q = vhdx_of(img);

	if (!r->owned)
		put_pending(q, find_pending(q, r->guest / q->m.block_len));
}

int vhdx_release(struct image *img, uint64_t host, uint64_t len, struct err *e)
{
	(void)e;
	space_give(&vhdx_of(img)->space, host, len);
	return 0;
}

/* ---- commit ----------------------------------------------------------- */

/* See tables.h: bitmaps come before the BAT. */
static int store(
    void *arg, const struct table_piece *piece, size_t n, struct err *e)
{
	struct image *img = arg;
	struct vhdx_sector sector[VHDX_ENTRY_SECTORS];
	uint64_t end;
	size_t k;

	if (!n)
		return host_sync(img->file, e);
	rwlock_shared(&img->meta);
	end = space_end(&vhdx_of(img)->space);
	rwlock_shared_end(&img->meta);
	/* No block goes past the end of the file. */
	if (host_grow(img->file, end, e))
		return -1;
	for (size_t i = 0; i < n; i += k) {
		k = min_u64(n - i, VHDX_ENTRY_SECTORS);
		for (size_t j = 0; j < k; j++)
			sector[j] = (struct vhdx_sector){
			    piece[i + j].host, piece[i + j].data};
		if (vhdx_log_write(img, sector, k, e))
			return -1;
	}
	return 0;
}

int vhdx_commit(struct image *img, struct err *e)
{
	return tables_commit_through(
	    vhdx_of(img)->tables, store, image_commit_mark, img, e);
}

int vhdx_first_write(struct image *img, struct err *e)
{
	struct vhdx_guid data;

	return vhdx_guid_new(&data, e) || vhdx_set_data_guid(img, &data, e);
}

int vhdx_set_data_guid(
    struct image *img, const struct vhdx_guid *data, struct err *e)
{
	struct vhdx *q = vhdx_of(img);

	if (vhdx_guid_new(&q->h.file_write, e))
		return -1;
	q->h.data_write = *data;
	return vhdx_header_write(img->file, &q->h, e);
}
