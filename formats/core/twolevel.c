/* SPDX-License-Identifier: BSD-3-Clause */
/* Two levels of tables: finding the entry of a guest offset.  See twolevel.h.
 */
#include <errno.h>
#include <inttypes.h>

#include "maprun.h"
#include "twolevel.h"

#define CACHE_LEN (4 * MiB)

uint64_t twolevel_get(const struct twolevel *t, const uint8_t *at)
{
	return t->big_endian ? be64(at) : le64(at);
}

void twolevel_put(const struct twolevel *t, uint8_t *at, uint64_t entry)
{
	if (t->big_endian)
		put_be64(at, entry);
	else
		put_le64(at, entry);
}

/* ---- pieces of tables ---------------------------------------------------- */

static struct table *piece(struct twolevel *t, uint64_t host, uint64_t n,
    uint64_t ix, enum table_level level, uint8_t **at, struct err *e)
{
	uint64_t off = round_down(ix * 8, TWOLEVEL_SLICE_LEN);
	uint64_t len = min_u64(TWOLEVEL_SLICE_LEN, n * 8 - off);
	struct table *s =
	    tables_get(t->tables, host + off, (uint32_t)len, level, e);

	if (s)
		*at = s->data + (ix * 8 - off);
	return s;
}

struct table *twolevel_dir(
    struct image *img, uint64_t ix, uint8_t **at, struct err *e)
{
	struct twolevel *t = twolevel_of(img);

	return piece(t, t->dir_host, t->dir_n, ix, TABLE_MAP, at, e);
}

struct table *twolevel_table(struct image *img, uint64_t table_host,
    uint64_t ix, uint8_t **at, struct err *e)
{
	struct twolevel *t = twolevel_of(img);

	return piece(t, table_host, t->table_n, ix, TABLE_ROOT, at, e);
}

/* ---- what is valid --------------------------------------------------------
 */

bool twolevel_table_ok(const struct twolevel *t, uint64_t host)
{
	return is_aligned(host, t->table_align) && host >= t->head_len &&
	       range_ok(host, twolevel_table_len(t), space_end(&t->space));
}

uint64_t twolevel_piece_ix(const struct twolevel *t, uint64_t guest)
{
	uint64_t entry_n = min_u64(t->table_n, TWOLEVEL_SLICE_LEN / 8);

	return guest / t->cluster_len / entry_n;
}

uint64_t twolevel_piece_end(const struct twolevel *t, uint64_t piece_ix)
{
	return clusterset_any(&t->ours, piece_ix, 1) ? space_end(&t->space)
						     : t->first_end;
}

bool twolevel_entry_ok(
    const struct twolevel *t, const struct twolevel_entry *n, uint64_t end)
{
	switch (n->kind) {
	case EXT_HOLE:
	case EXT_ZERO:
		return true;
	case EXT_DATA:
		return is_aligned(n->host, t->table_align) &&
		       n->host >= t->head_len &&
		       range_ok(n->host, t->cluster_len, end);
	case EXT_PACKED:
		return n->stored && n->host >= t->head_len &&
		       range_ok(n->host, n->stored, end);
	}
	return false;
}

int twolevel_table_host(
    struct image *img, uint64_t dir_ix, uint64_t *host, struct err *e)
{
	struct twolevel *t = twolevel_of(img);
	uint8_t *at;
	struct table *s = twolevel_dir(img, dir_ix, &at, e);

	if (!s)
		return -1;
	*host = twolevel_get(t, at);
	tables_put(t->tables, s);
	if (!*host || twolevel_table_ok(t, *host))
		return 0;
	return err_set(e, ERR_DAMAGED, EIO,
	    "%s: directory entry %" PRIu64 " is %#" PRIx64
	    ", which is no place for a table in a file of %" PRIu64 " bytes",
	    img->name, dir_ix, *host, space_end(&t->space));
}

int twolevel_dir_hole(
    struct image *img, uint64_t ix, uint64_t *n, struct err *e)
{
	const struct twolevel *t = twolevel_of(img);
	uint64_t host = t->dir_host + ix * 8, size = host_size(img->file);
	struct host_extent x;

	*n = 0;
	if (ix * 8 % TWOLEVEL_SLICE_LEN)
		return 0;
	*n = t->dir_n - ix;
	if (host >= size)
		return 0;
	if (host_map(img->file, host, min_u64(*n * 8, size - host), &x, e))
		return -1;
	*n = x.hole ? x.len / 8 : 0;
	return 0;
}

/* ---- open ------------------------------------------------------------------
 */

int twolevel_open(struct image *img, struct err *e)
{
	struct twolevel *t = twolevel_of(img);

	clusterset_init(&t->meta);
	clusterset_init(&t->ours);
	space_init(&t->space, 0, t->cluster_len, host_size(img->file),
	    round_down(INT64_MAX, t->cluster_len));
	t->first_end = space_end(&t->space);
	t->tables = tables_new_cache(img->file, &img->meta, CACHE_LEN, e);
	img->tables = t->tables;
	img->unit = t->cluster_len;
	return t->tables ? 0 : -1;
}

void twolevel_close(struct image *img)
{
	struct twolevel *t = twolevel_of(img);

	tables_free(t->tables);
	clusterset_destroy(&t->meta);
	clusterset_destroy(&t->ours);
	space_destroy(&t->space);
	img->tables = NULL;
}

static int own_meta(
    struct twolevel *t, uint64_t host, uint64_t len, struct err *e)
{
	uint64_t first = host / t->cluster_len;
	uint64_t last = (host + len - 1) / t->cluster_len;

	return clusterset_add(&t->meta, first, last - first + 1, e);
}

/* A table with two owners would change under the other one. */
static int own_table(struct image *img, uint64_t host, struct err *e)
{
	struct twolevel *t = twolevel_of(img);
	uint64_t len = twolevel_table_len(t), cl = host / t->cluster_len;

	if (clusterset_any(
		&t->meta, cl, (host + len - 1) / t->cluster_len - cl + 1))
		return err_damaged(e,
		    "%s: the table at %#" PRIx64
		    " lies on another one: the image can only be read",
		    img->name, host);
	return own_meta(t, host, len, e);
}

int twolevel_start(struct image *img, struct err *e)
{
	struct twolevel *t = twolevel_of(img);
	uint64_t host, hole_n;

	if (own_meta(t, 0, t->head_len, e) ||
	    (t->name_len && own_meta(t, t->name_host, t->name_len, e)) ||
	    (t->dir_n && own_meta(t, t->dir_host, t->dir_n * 8, e)))
		return -1;
	for (uint64_t ix = 0; ix < t->dir_n; ix++) {
		int rc;

		if (twolevel_dir_hole(img, ix, &hole_n, e))
			return -1;
		ix += hole_n;
		if (ix == t->dir_n)
			break;
		rwlock_shared(&img->meta);
		rc = twolevel_table_host(img, ix, &host, e);
		rwlock_shared_end(&img->meta);
		if (rc || (host && own_table(img, host, e)))
			return -1;
	}
	return 0;
}

/* ---- map -------------------------------------------------------------------
 */

static int bad_entry(struct image *img, uint64_t guest, uint64_t entry,
    uint64_t end, struct err *e)
{
	return err_set(e, ERR_DAMAGED, EIO,
	    "%s: the table entry of guest offset %" PRIu64 " is %#" PRIx64
	    ", which is no place for data in a file of %" PRIu64 " bytes",
	    img->name, guest, entry, end);
}

/* I4: on a writable image, does data lie where tables are? */
static unsigned meta_flag(const struct twolevel *t, const struct extent *x)
{
	uint64_t first = x->host / t->cluster_len;
	uint64_t last = (x->host + x->len - 1) / t->cluster_len;

	return x->kind == EXT_DATA &&
		       clusterset_any(&t->meta, first, last - first + 1)
		   ? EXT_F_META
		   : 0;
}

static void fill(const struct image *img, const struct twolevel_entry *n,
    uint64_t len, struct extent *x)
{
	const struct twolevel *t = twolevel_of(img);
	uint64_t in_cl = x->guest & (t->cluster_len - 1);

	x->kind = n->kind;
	x->len = min_u64(len, t->cluster_len - in_cl);
	if (n->kind == EXT_HOLE || n->kind == EXT_ZERO)
		return;
	x->file = img->file;
	x->host = n->host;
	if (n->kind == EXT_PACKED) {
		x->packed.unit = x->guest - in_cl;
		x->packed.unit_len = t->cluster_len;
		x->packed.stored = n->stored;
		x->packed.codec = img->codec;
		return;
	}
	x->host += in_cl;
	x->flags = meta_flag(t, x) | (img->cipher ? EXT_F_CRYPT : 0);
}

static int look(struct image *img, uint64_t guest, uint64_t len,
    struct extent *x, struct err *e)
{
	struct twolevel *t = twolevel_of(img);
	uint64_t span = twolevel_span(t), dir_ix = guest / span, host, entry,
		 end;
	struct twolevel_entry n;
	struct table *s;
	uint8_t *at;

	if (twolevel_table_host(img, dir_ix, &host, e))
		return -1;
	if (!host) {
		x->kind = EXT_HOLE;
		x->len = min_u64(len, span - guest % span);
		return 0;
	}
	s = twolevel_table(img, host, guest % span / t->cluster_len, &at, e);
	if (!s)
		return -1;
	entry = twolevel_get(t, at);
	tables_put(t->tables, s);
	t->decode(img, entry, &n);
	end = twolevel_piece_end(t, twolevel_piece_ix(t, guest));
	if (!twolevel_entry_ok(t, &n, end))
		return bad_entry(img, guest, entry, end, e);
	fill(img, &n, len, x);
	return 0;
}

int twolevel_map(struct image *img, uint64_t guest, uint64_t len,
    struct extent *x, struct err *e)
{
	return maprun(img, look, guest, len, x, e);
}
