/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Persistent bitmaps: what core/bitmap.h asks of a format.
 *
 * A mark is four bytes of a directory entry, changed in place.  Everything
 * else is stored by a new directory, which is in force when the header names
 * it; tables that it does not name any more are given back after that.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#include "qcow2.h"

#define KIND_DIRTY 1u
#define FLAGS_AT   12u /* in a directory entry */

/* What the file has of a bitmap. */
struct stored {
	uint64_t at; /* host offset of the directory entry */
	uint64_t table_host;
	uint32_t table_n;
	uint32_t flags;
	uint32_t extra_len;
	uint8_t extra[];
};

static bool supported(const struct image *img)
{
	return qcow2_of(img)->h.version >= 3;
}

/* ---- reading ---------------------------------------------------------------
 */

static int add_stored(struct image *img, const struct qcow2_bitmap *from,
    struct bitmap *b, struct err *e)
{
	struct stored *s = calloc(1, sizeof *s + from->extra_len);

	if (!s)
		return err_nomem(e);
	b->stored = s;
	s->at = from->at;
	s->table_host = from->table_host;
	s->table_n = from->table_n;
	s->flags = from->flags;
	s->extra_len = from->extra_len;
	b->enabled = s->flags & QCOW2_BITMAP_AUTO;
	b->marked = s->flags & QCOW2_BITMAP_IN_USE;
	b->inconsistent =
	    b->marked || (s->extra_len && !(s->flags & QCOW2_BITMAP_EXTRA));
	if (!s->extra_len)
		return 0;
	return host_pread(
	    img->file, s->extra, s->extra_len, s->at + QCOW2_BITMAP_LEN, e);
}

static int list(struct image *img, struct err *e)
{
	struct qcow2_bitmap_list all;
	int rc = 0;

	if (qcow2_bitmaps_read(img, &all, e))
		return -1;
	for (size_t i = 0; i < all.n && !rc; i++) {
		const struct qcow2_bitmap *from = &all.item[i];
		struct bitmap *b = bitmaps_append(
		    &img->bitmaps, from->name, from->granularity_bits, e);

		rc = b ? add_stored(img, from, b, e) : -1;
	}
	qcow2_bitmaps_clear(&all);
	return rc;
}

static int check_data_len(
    uint64_t size, unsigned granularity_bits, struct err *e)
{
	if (!size)
		return err_set(e, ERR_USAGE, EINVAL,
		    "A disk of 0 bytes cannot have bitmaps");
	if (div_up(size, 8ull << granularity_bits) > QCOW2_BITMAP_DATA_MAX)
		return err_set(e, ERR_USAGE, EFBIG,
		    "Too much space will be occupied by the bitmap. Use larger "
		    "granularity");
	return 0;
}

static int load(struct image *img, struct bitmap *b, struct err *e)
{
	const struct stored *s = b->stored;
	struct dirtymap *bits;

	if (check_data_len(img_size(img), b->granularity_bits, e))
		return -1;
	bits = dirtymap_new(img_size(img), b->granularity_bits, e);
	if (bits &&
	    !qcow2_bitmap_read(img, s->table_host, s->table_n, bits, e)) {
		b->bits = bits;
		return 0;
	}
	dirtymap_free(bits);
	return -1;
}

/* ---- limits ----------------------------------------------------------------
 */

static uint64_t entry_len(uint32_t extra_len, const char *name)
{
	return round_up(QCOW2_BITMAP_LEN + extra_len + strlen(name), 8);
}

static uint64_t dir_len(const struct image *img)
{
	uint64_t len = 0;

	for (const struct bitmap *b = img->bitmaps.first; b; b = b->next) {
		const struct stored *s = b->stored;

		len += entry_len(s ? s->extra_len : 0, b->name);
	}
	return len;
}

static int may_add(struct image *img, const char *name,
    unsigned granularity_bits, struct err *e)
{
	if (!supported(img))
		return err_set(e, ERR_UNSUPPORTED, ENOTSUP,
		    "Cannot store dirty bitmaps in qcow2 v2 files");
	if (strlen(name) > QCOW2_BITMAP_NAME_MAX)
		return err_usage(e,
		    "Name length exceeds maximum (%u characters)",
		    QCOW2_BITMAP_NAME_MAX);
	if (img->bitmaps.n >= QCOW2_BITMAPS_MAX)
		return err_set(e, ERR_USAGE, EOVERFLOW,
		    "Maximum number of persistent bitmaps is already reached");
	if (dir_len(img) + entry_len(0, name) > QCOW2_BITMAP_DIR_MAX)
		return err_set(e, ERR_USAGE, EOVERFLOW,
		    "Not enough space in the bitmap directory");
	return check_data_len(img_size(img), granularity_bits, e);
}

static int may_resize(struct image *img, uint64_t size, struct err *e)
{
	for (const struct bitmap *b = img->bitmaps.first; b; b = b->next)
		if (check_data_len(size, b->granularity_bits, e)) {
			err_prefix(e, "Bitmap '%s': ", b->name);
			return -1;
		}
	return 0;
}

/* ---- marks -----------------------------------------------------------------
 */

static int mark(struct image *img, struct err *e)
{
	for (struct bitmap *b = img->bitmaps.first; b; b = b->next) {
		struct stored *s = b->stored;
		uint8_t p[4];

		if (!b->marked || (s->flags & QCOW2_BITMAP_IN_USE))
			continue;
		s->flags |= QCOW2_BITMAP_IN_USE;
		put_be32(p, s->flags);
		if (host_pwrite(img->file, p, sizeof p, s->at + FLAGS_AT, e))
			return -1;
	}
	return host_sync(img->file, e);
}

/* ---- space that the file's present directory holds
 * ----------------------------
 */

/* Ranges to be given back. */
struct ranges {
	struct range_of_host {
		uint64_t host, len;
	} * item;
	size_t n, max;
};

static int ranges_add(
    struct ranges *r, uint64_t host, uint64_t len, struct err *e)
{
	struct range_of_host *last = r->n ? &r->item[r->n - 1] : NULL;

	if (last && last->host + last->len == host) {
		last->len += len;
		return 0;
	}
	if (r->n == r->max) {
		size_t max = r->max ? 2 * r->max : 16;
		void *item = reallocarray(r->item, max, sizeof *r->item);

		if (!item)
			return err_nomem(e);
		r->item = item;
		r->max = max;
	}
	r->item[r->n++] = (struct range_of_host){host, len};
	return 0;
}

static int ranges_give(struct image *img, const struct ranges *r, struct err *e)
{
	for (size_t i = 0; i < r->n; i++)
		if (qcow2_space_give(img, r->item[i].host, r->item[i].len, e))
			return -1;
	return 0;
}

static int add_old_table(struct image *img, const struct qcow2_bitmap *b,
    struct ranges *r, struct err *e)
{
	uint32_t cluster_len = qcow2_of(img)->cluster_len;
	CLEANUP_FREE uint64_t *table =
	    qcow2_bitmap_table(img, b->table_host, b->table_n, e);

	if (!table)
		return -1;
	for (uint32_t i = 0; i < b->table_n; i++)
		if (table[i] > 1 && ranges_add(r, table[i], cluster_len, e))
			return -1;
	return ranges_add(
	    r, b->table_host, round_up(8ull * b->table_n, cluster_len), e);
}

/* The tables that go on to be used, by their first clusters. */
static int kept_tables(
    struct image *img, struct clusterset *kept, struct err *e)
{
	unsigned cluster_bits = qcow2_of(img)->h.cluster_bits;

	for (const struct bitmap *b = img->bitmaps.first; b; b = b->next) {
		const struct stored *s = b->stored;

		if (!b->changed &&
		    clusterset_add(kept, s->table_host >> cluster_bits, 1, e))
			return -1;
	}
	return 0;
}

/* What nobody needs once there is a new directory. */
static int collect_old(struct image *img, struct ranges *r, struct err *e)
{
	const struct qcow2 *q = qcow2_of(img);
	struct qcow2_bitmap_list old;
	struct clusterset kept;
	int rc;

	if (qcow2_bitmaps_read(img, &old, e))
		return -1;
	clusterset_init(&kept);
	rc = kept_tables(img, &kept, e);
	for (size_t i = 0; i < old.n && !rc; i++)
		if (!clusterset_any(
			&kept, old.item[i].table_host >> q->h.cluster_bits, 1))
			rc = add_old_table(img, &old.item[i], r, e);
	if (!rc && q->h.bitmaps.present)
		rc = ranges_add(r, q->h.bitmaps.dir_host,
		    round_up(q->h.bitmaps.dir_len, q->cluster_len), e);
	clusterset_destroy(&kept);
	qcow2_bitmaps_clear(&old);
	return rc;
}

/* ---- storing ---------------------------------------------------------------
 */

static int write_changed(struct image *img, struct err *e)
{
	for (struct bitmap *b = img->bitmaps.first; b; b = b->next) {
		struct stored *s = b->stored;

		if (!b->changed)
			continue;
		if (!s)
			s = b->stored = calloc(1, sizeof *s);
		if (!s)
			return err_nomem(e);
		if (qcow2_bitmap_write(
			img, b->bits, &s->table_host, &s->table_n, e))
			return -1;
	}
	return 0;
}

/* Returns the entry's length. */
static uint64_t put_entry(const struct bitmap *b, uint8_t *p)
{
	struct stored *s = b->stored;
	size_t name_len = strlen(b->name);

	s->flags &= QCOW2_BITMAP_EXTRA;
	if (b->enabled)
		s->flags |= QCOW2_BITMAP_AUTO;
	if (b->marked && b->inconsistent)
		s->flags |= QCOW2_BITMAP_IN_USE;
	put_be64(p, s->table_host);
	put_be32(p + 8, s->table_n);
	put_be32(p + FLAGS_AT, s->flags);
	p[16] = KIND_DIRTY;
	p[17] = (uint8_t)b->granularity_bits;
	put_be16(p + 18, (uint16_t)name_len);
	put_be32(p + 20, s->extra_len);
	memcpy(p + QCOW2_BITMAP_LEN, s->extra, s->extra_len);
	memcpy(p + QCOW2_BITMAP_LEN + s->extra_len, b->name, name_len);
	return entry_len(s->extra_len, b->name);
}

/* A new directory; the header in memory names it. */
static int write_directory(struct image *img, struct err *e)
{
	struct qcow2_header *h = &qcow2_of(img)->h;
	uint64_t len = dir_len(img), at = 0, host;
	CLEANUP_FREE uint8_t *buf = calloc(1, len + 1);

	if (!buf)
		return err_nomem(e);
	for (struct bitmap *b = img->bitmaps.first; b; b = b->next) {
		((struct stored *)b->stored)->at = at;
		at += put_entry(b, buf + at);
	}
	if (qcow2_space_write(img, buf, len, &host, e))
		return -1;
	for (struct bitmap *b = img->bitmaps.first; b; b = b->next)
		((struct stored *)b->stored)->at += host;
	h->bitmaps.present = img->bitmaps.n;
	h->bitmaps.n = (uint32_t)img->bitmaps.n;
	h->bitmaps.dir_len = len;
	h->bitmaps.dir_host = host;
	h->autoclear &= ~QCOW2_A_BITMAPS;
	if (h->bitmaps.present)
		h->autoclear |= QCOW2_A_BITMAPS;
	return 0;
}

static int store(struct image *img, struct err *e)
{
	struct ranges old = {0};
	int rc = collect_old(img, &old, e);

	if (!rc)
		rc = write_changed(img, e);
	if (!rc)
		rc = write_directory(img, e);
	if (!rc)
		rc = qcow2_header_switch(img, e);
	if (!rc)
		rc = ranges_give(img, &old, e);
	free(old.item);
	return rc;
}

const struct bitmap_ops qcow2_bitmap_ops = {
    .supported = supported,
    .list = list,
    .load = load,
    .may_add = may_add,
    .may_resize = may_resize,
    .mark = mark,
    .store = store,
};
