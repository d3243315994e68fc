/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Two levels of tables: a directory of another length, and an empty one.  See
 * twolevel.h.
 */
#include <stdlib.h>

#include "duplicate.h"
#include "request.h"
#include "twolevel.h"

/* The old directory's entries, and zeroes up to dir_n, at `host`. */
static int copy_dir(
    struct image *img, uint64_t dir_n, uint64_t host, struct err *e)
{
	struct twolevel *t = twolevel_of(img);

	if (host_zero(img->file, host, dir_n * 8, 0, e))
		return -1;
	if (duplicate(img->file, t->dir_host, host, t->dir_n * 8, e))
		return -1;
	return host_sync(img->file, e);
}

int twolevel_take_room(
    struct image *img, uint64_t len, uint64_t *host, struct err *e)
{
	struct twolevel *t = twolevel_of(img);
	uint64_t room = round_up(len, t->cluster_len), got;
	int rc;

	rwlock_excl(&img->meta);
	rc = space_take(&t->space, room, room, host, &got, e);
	if (!rc)
		rc = clusterset_add(
		    &t->meta, *host / t->cluster_len, room / t->cluster_len, e);
	rwlock_excl_end(&img->meta);
	return rc;
}

/* Clusters of tables that nothing names any more. */
static int retire_room(
    struct image *img, uint64_t host, uint64_t len, struct err *e)
{
	struct twolevel *t = twolevel_of(img);

	len = round_up(len, t->cluster_len);
	if (!is_aligned(host, t->cluster_len) || host < t->head_len || !len)
		return 0;
	tables_forget(t->tables, host, len);
	clusterset_remove(
	    &t->meta, host / t->cluster_len, len / t->cluster_len);
	return image_retire(img, host, len, true, false, e);
}

int twolevel_give_room(
    struct image *img, uint64_t host, uint64_t len, struct err *e)
{
	int rc;

	rwlock_excl(&img->meta);
	rc = retire_room(img, host, len, e);
	rwlock_excl_end(&img->meta);
	return rc;
}

/* Another directory: pieces of the old one are not its pieces. */
static void use_dir(struct image *img, uint64_t host, uint64_t dir_n)
{
	struct twolevel *t = twolevel_of(img);

	rwlock_excl(&img->meta);
	tables_forget_level(t->tables, TABLE_MAP);
	t->dir_host = host;
	t->dir_n = dir_n;
	rwlock_excl_end(&img->meta);
}

int twolevel_move_dir(struct image *img, uint64_t dir_n, struct err *e)
{
	uint64_t host;

	if (twolevel_take_room(img, dir_n * 8, &host, e) ||
	    copy_dir(img, dir_n, host, e))
		return -1;
	use_dir(img, host, dir_n);
	return 0;
}

int twolevel_end_dir(struct image *img, uint64_t dir_n, struct err *e)
{
	struct twolevel *t = twolevel_of(img);
	uint64_t kept = round_up(dir_n * 8, t->cluster_len);
	uint64_t had = round_up(t->dir_n * 8, t->cluster_len);

	use_dir(img, t->dir_host, dir_n);
	return twolevel_give_room(img, t->dir_host + kept, had - kept, e);
}

static int drop_table(struct image *img, uint64_t dir_ix, struct err *e)
{
	struct twolevel *t = twolevel_of(img);
	uint64_t host;
	uint8_t *at;
	struct table *s;
	size_t off;
	int rc;

	if (twolevel_table_host(img, dir_ix, &host, e))
		return -1;
	if (!host)
		return 0;
	s = twolevel_dir(img, dir_ix, &at, e);
	if (!s)
		return -1;
	off = (size_t)(at - s->data);
	rc = tables_change(t->tables, s, e);
	if (!rc)
		twolevel_put(t, s->data + off, 0);
	tables_put(t->tables, s);
	return rc ? -1 : retire_room(img, host, twolevel_table_len(t), e);
}

int twolevel_trim_dir(struct image *img, uint64_t dir_n, struct err *e)
{
	struct twolevel *t = twolevel_of(img);
	int rc = 0;

	rwlock_excl(&img->meta);
	for (uint64_t ix = dir_n; !rc && ix < t->dir_n; ix++)
		rc = drop_table(img, ix, e);
	rwlock_excl_end(&img->meta);
	return rc;
}

/*
 * Entries go one after the other: whichever of them a crash leaves, the disk
 * reads the same, since what is below has all of it.
 */
int twolevel_empty(struct image *img, struct err *e)
{
	struct twolevel *t = twolevel_of(img);
	uint64_t dir_end = t->dir_host + t->dir_n * 8;
	uint64_t name_end = t->name_len ? t->name_host + t->name_len : 0;
	uint64_t end = round_up(
	    max_u64(t->head_len, max_u64(dir_end, name_end)), t->cluster_len);

	if (twolevel_trim_dir(img, 0, e) || image_commit(img, e))
		return image_fail(img, e);
	if (!img->file->fixed_size && host_truncate(img->file, end, e))
		return image_fail(img, e);
	space_destroy(&t->space);
	space_init(&t->space, 0, t->cluster_len, end,
	    round_down(INT64_MAX, t->cluster_len));
	t->packed_host = 0;
	return 0;
}
