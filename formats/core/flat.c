/* SPDX-License-Identifier: BSD-3-Clause */
/* Formats with one flat table: see flat.h; moving blocks is flat_move.c. */
#include "flat.h"
#include "maprun.h"

/* Bytes of the table that are read and written together. */
#define PIECE_LEN 16384u
#define CACHE_LEN (1u * MiB)
/* Blocks that one reservation has, at most. */
#define RESERVE_MAX 1024u
/* Blocks that may have space beyond twice those that fit the file: a few may
 * be damaged. */
#define ROOM_SPARE 16u
/* Entries of a table: 2 GiB with 32 bits each. */
#define BLOCKS_MAX (1u << 29)

int flat_init(struct flat *f, uint64_t base, uint64_t limit, struct err *e)
{
	uint64_t end = max_u64(host_size(f->img->file), base);

	if (f->block_n > BLOCKS_MAX)
		return err_unsupported(e,
		    "%s: a table of %llu blocks: allowed are %u", f->img->name,
		    (unsigned long long)f->block_n, BLOCKS_MAX);
	space_init(&f->space, base, f->unit_len ? f->unit_len : f->space_len,
	    end, limit);
	f->tables = tables_new_cache(f->img->file, &f->img->meta, CACHE_LEN, e);
	f->img->tables = f->tables;
	return f->tables ? 0 : -1;
}

void flat_destroy(struct flat *f)
{
	tables_free(f->tables);
	if (f->img)
		f->img->tables = NULL;
	space_destroy(&f->space);
}

void flat_use_table(struct flat *f, uint64_t host, uint64_t block_n)
{
	tables_forget(f->tables, f->table_host, f->block_n * f->entry_len);
	f->table_host = host;
	f->block_n = block_n;
}

/* ---- entries ------------------------------------------------------------- */

/* The piece with the entry of a block, which is at *pos in it. */
static struct table *piece_of(
    struct flat *f, uint64_t block_ix, uint32_t *pos, struct err *e)
{
	uint64_t at = block_ix * f->entry_len;
	uint64_t start = round_down(at, PIECE_LEN);
	uint64_t len = min_u64(PIECE_LEN, f->block_n * f->entry_len - start);

	*pos = (uint32_t)(at - start);
	return tables_get(
	    f->tables, f->table_host + start, (uint32_t)len, TABLE_MAP, e);
}

static const char *decode(
    const struct flat *f, const uint8_t *p, struct flat_block *b)
{
	const char *fault;

	*b = (struct flat_block){0};
	fault = f->ops->decode(f, p, b);
	if (!fault && b->kind == EXT_DATA && b->host >= space_end(&f->space))
		return "points past the end of the file";
	return fault;
}

int flat_get(
    struct flat *f, uint64_t block_ix, struct flat_block *b, struct err *e)
{
	const char *fault;
	struct table *t;
	uint32_t pos;

	t = piece_of(f, block_ix, &pos, e);
	if (!t)
		return -1;
	fault = decode(f, t->data + pos, b);
	tables_put(f->tables, t);
	if (!fault)
		return 0;
	return err_damaged(e, "%s: the table entry of block %llu %s",
	    f->img->name, (unsigned long long)block_ix, fault);
}

int flat_put(struct flat *f, uint64_t block_ix, const struct flat_block *b,
    struct err *e)
{
	struct table *t;
	uint32_t pos;
	int rc;

	t = piece_of(f, block_ix, &pos, e);
	if (!t)
		return -1;
	rc = tables_change(f->tables, t, e);
	if (!rc)
		f->ops->encode(f, t->data + pos, b);
	tables_put(f->tables, t);
	return rc;
}

int flat_each(struct flat *f, flat_fn *fn, void *arg, struct err *e)
{
	image_work_begin(f->img, f->block_n);
	for (uint64_t ix = 0; ix < f->block_n;) {
		uint8_t copy[PIECE_LEN];
		uint32_t pos;
		uint64_t n;
		struct table *t = piece_of(f, ix, &pos, e);

		if (!t)
			return -1;
		n = min_u64(PIECE_LEN / f->entry_len, f->block_n - ix);
		memcpy(copy, t->data, n * f->entry_len);
		tables_put(f->tables, t);
		for (uint64_t i = 0; i < n; i++) {
			struct flat_block b;
			const char *fault =
			    decode(f, copy + i * f->entry_len, &b);

			if (fn(f, ix + i, &b, fault, arg, e))
				return -1;
		}
		ix += n;
		if (image_work(f->img, n, e))
			return -1;
	}
	return 0;
}

/* ---- map ----------------------------------------------------------------- */

/* On a writable image: has the block its space for itself? */
static bool is_shared(const struct flat *f, const struct flat_block *b)
{
	return space_shared(&f->space, b->host, f->space_len);
}

static int look(struct image *img, uint64_t guest, uint64_t len,
    struct extent *x, struct err *e)
{
	struct flat *f = flat_of(img);
	uint64_t in_block = guest % f->block_len;
	struct flat_block b;

	if (flat_get(f, guest / f->block_len, &b, e))
		return -1;
	x->len = min_u64(len, f->block_len - in_block);
	x->kind = b.kind;
	if (b.kind == EXT_HOLE && f->solid && !img->has_backing)
		x->kind = EXT_ZERO;
	if (b.kind != EXT_DATA)
		return 0;
	x->file = img->file;
	x->host = b.host + f->lead_len + in_block;
	x->flags = is_shared(f, &b) ? EXT_F_SHARED : 0;
	return 0;
}

int flat_map(struct image *img, uint64_t guest, uint64_t len, struct extent *x,
    struct err *e)
{
	return maprun(img, look, guest, len, x, e);
}

/* ---- writing ------------------------------------------------------------- */

/* Blocks from ix on that a write would have to move; *n of them at most. */
static int count_new(struct flat *f, uint64_t ix, uint64_t *n, struct err *e)
{
	uint64_t i;

	for (i = 0; i < *n; i++) {
		struct flat_block b;

		if (flat_get(f, ix + i, &b, e))
			return -1;
		if (i && b.kind == EXT_DATA && !is_shared(f, &b))
			break;
	}
	*n = i;
	return 0;
}

int flat_claim(
    struct flat *f, const struct flat_block *b, uint64_t *n, struct err *e)
{
	uint64_t len = host_size(f->img->file);
	uint64_t max_n = 2 * (len / f->space_len) + ROOM_SPARE;
	int rc;

	*n += b->host < len;
	if (*n > max_n)
		return err_damaged(e,
		    "%s: more than %llu blocks of %u bytes have space in a "
		    "file of %llu",
		    f->img->name, (unsigned long long)max_n, f->block_len,
		    (unsigned long long)len);
	rc = space_claim(&f->space, b->host, f->space_len, e);
	if (rc < 0)
		err_prefix(e, "%s: ", f->img->name);
	return rc;
}

int flat_take(struct flat *f, uint64_t most_n, uint64_t *host, uint64_t *got_n,
    struct err *e)
{
	uint64_t got, end = f->space.end_ix;

	if (space_take(&f->space, f->space_len, most_n * f->space_len, host,
		&got, e)) {
		err_prefix(e, "%s: ", f->img->name);
		return -1;
	}
	*got_n = got / f->space_len;
	if (f->space.end_ix == end || !f->ops->grown || !f->ops->grown(f, e))
		return 0;
	space_give(&f->space, *host, got);
	return -1;
}

int flat_reserve(struct image *img, uint64_t guest, uint64_t len,
    uint64_t stored, struct reservation *r, struct err *e)
{
	struct flat *f = flat_of(img);
	uint64_t ix = guest / f->block_len, host;
	uint64_t n = div_up(guest + len, f->block_len) - ix;

	(void)stored;
	/* With more than data in the space, data does not go on in the next. */
	n = f->space_len == f->block_len ? min_u64(n, RESERVE_MAX) : 1;
	if (count_new(f, ix, &n, e))
		return -1;
	if (flat_take(f, n, &host, &n, e))
		return -1;
	r->guest = ix * f->block_len;
	r->len = n * f->block_len;
	r->file = f->img->file;
	r->host = host + f->lead_len;
	r->zeroed = host >= host_size(r->file);
	return 0;
}

/* A block gives up the space that it has. */
static int retire(
    struct flat *f, const struct flat_block *b, bool punch, struct err *e)
{
	if (b->kind != EXT_DATA || is_shared(f, b))
		return 0;
	return image_retire(f->img, b->host, f->space_len, true, punch, e);
}

int flat_publish(struct image *img, const struct reservation *r, struct err *e)
{
	struct flat *f = flat_of(img);
	uint64_t ix = r->guest / f->block_len, n = r->len / f->block_len;
	struct flat_block b = {.kind = EXT_DATA, .host = r->host - f->lead_len};

	for (; n; n--, ix++, b.host += f->space_len) {
		struct flat_block old;

		if (flat_get(f, ix, &old, e) || retire(f, &old, false, e) ||
		    flat_put(f, ix, &b, e))
			return -1;
	}
	return 0;
}

void flat_abandon(struct image *img, const struct reservation *r)
{
	struct flat *f = flat_of(img);

	space_give(&f->space, r->host - f->lead_len,
	    r->len / f->block_len * f->space_len);
}

int flat_release(struct image *img, uint64_t host, uint64_t len, struct err *e)
{
	(void)e;
	space_give(&flat_of(img)->space, host, len);
	return 0;
}

/* What becomes of a block that is to be zeroes or nothing; 0: that cannot be
 * done in the table. */
static enum ext_kind fate(
    const struct flat *f, const struct flat_block *b, enum unmap_how how)
{
	if (b->kind == EXT_ZERO || (b->kind == EXT_DATA && f->keeps_data))
		return b->kind == EXT_ZERO ? EXT_ZERO : 0;
	if (!f->img->has_backing)
		return EXT_HOLE;
	if (b->kind == EXT_HOLE && how == UNMAP_TRIM)
		return EXT_HOLE;
	/* What was below must not show again. */
	if (f->has_zero)
		return EXT_ZERO;
	return how == UNMAP_TRIM ? b->kind : 0;
}

int flat_unmap(struct image *img, uint64_t guest, uint64_t len,
    enum unmap_how how, uint64_t *done, struct err *e)
{
	struct flat *f = flat_of(img);
	uint64_t ix = guest / f->block_len, i;
	uint64_t n = guest + len == img_size(img) ? div_up(len, f->block_len)
						  : len / f->block_len;
	bool punch = how != UNMAP_ZERO && img->flags & IMG_O_DISCARD;

	for (i = 0; i < n; i++) {
		struct flat_block b, next = {0};

		if (flat_get(f, ix + i, &b, e))
			return -1;
		next.kind = fate(f, &b, how);
		if (!next.kind)
			break;
		if (next.kind == b.kind)
			continue;
		if (retire(f, &b, punch, e) || flat_put(f, ix + i, &next, e))
			return -1;
	}
	*done = min_u64(len, i * f->block_len);
	return 0;
}

int flat_commit(struct image *img, struct err *e)
{
	struct flat *f = flat_of(img);
	struct err ignored = ERR_INIT;
	uint64_t end;

	rwlock_shared(&img->meta);
	end = space_end(&f->space);
	rwlock_shared_end(&img->meta);
	/* Blocks that were not written to their end get one.  If that fails,
	 * reads past the end of the file give the same zeroes. */
	if (tables_dirty_len(f->tables))
		host_grow(img->file, end, &ignored);
	return tables_commit(f->tables, img->file, image_commit_mark, img, e);
}

/* ---- walk ---------------------------------------------------------------- */

struct walk {
	struct walker *w;
	struct walk_extent x; /* may go on; len 0: none */
};

static int walk_flush(struct walk *k, struct err *e)
{
	struct walk_extent x = k->x;

	k->x.len = 0;
	return x.len ? k->w->extent(k->w, &x, e) : 0;
}

static int walk_block(struct flat *f, uint64_t ix, const struct flat_block *b,
    const char *fault, void *arg, struct err *e)
{
	struct walk *k = arg;
	uint64_t guest = ix * f->block_len;

	(void)fault;
	if (b->kind != EXT_DATA)
		return 0;
	if (k->x.len && f->space_len == f->block_len &&
	    k->x.host + k->x.len == b->host && k->x.guest + k->x.len == guest) {
		k->x.len += f->space_len;
		return 0;
	}
	if (walk_flush(k, e))
		return -1;
	k->x = (struct walk_extent){.host = b->host,
	    .len = f->space_len,
	    .kind = META_DATA,
	    .owner = "guest data",
	    .guest = guest};
	return 0;
}

int flat_walk(struct image *img, struct walker *w, uint64_t header_len,
    const char *table, struct err *e)
{
	struct flat *f = flat_of(img);
	const struct walk_extent head = {.len = header_len,
	    .kind = META_HEADER,
	    .owner = "header",
	    .guest = UINT64_MAX};
	const struct walk_extent entries = {.host = f->table_host,
	    .len = f->block_n * f->entry_len,
	    .kind = META_TABLE,
	    .owner = table,
	    .guest = UINT64_MAX};
	struct walk k = {.w = w};

	if (w->extent(w, &head, e) ||
	    (entries.len && w->extent(w, &entries, e)) ||
	    flat_each(f, walk_block, &k, e))
		return -1;
	return walk_flush(&k, e);
}
