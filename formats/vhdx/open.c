/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Opening and closing VHDX images.
 *
 * A log that has to be replayed lies over the file at first.  start() replays
 * it in the file of an image that is to be written, and reads everything
 * again.
 */
#include <errno.h>
#include <stdlib.h>

#include "vhdx.h"

#define CACHE_LEN (16 * MiB) /* of tables */

static const char identifier[8] = {'v', 'h', 'd', 'x', 'f', 'i', 'l', 'e'};

static bool probe(const struct probe_in *p)
{
	return p->file_len >= VHDX_UNIT && p->head_len >= sizeof identifier &&
	       !memcmp(p->head, identifier, sizeof identifier);
}

static int check_bat(const struct image *img, struct err *e)
{
	struct vhdx *q = vhdx_of(img);

	q->bat_n = vhdx_bat_n(
	    q->m.size, q->m.block_len, q->m.sector_len, q->m.has_parent);
	q->chunk_n = VHDX_BITMAP_BITS * q->m.sector_len / q->m.block_len;
	if (q->bat_n <= q->bat.len / 8)
		return 0;
	return err_damaged(e,
	    "%s: VHDX BAT region of %u bytes: the disk needs %llu entries",
	    img->name, q->bat.len, (unsigned long long)q->bat_n);
}

/*
 * A cache over q->file.  While requests may come the one there is stays, since
 * they look at how much of it is dirty; it forgets everything.
 */
static int new_tables(struct image *img, struct err *e)
{
	struct vhdx *q = vhdx_of(img);

	if (q->tables) {
		rwlock_excl(&img->meta);
		tables_forget(q->tables, 0, UINT64_MAX);
		rwlock_excl_end(&img->meta);
		return 0;
	}
	img->tables = q->tables =
	    tables_new_cache(q->file, &img->meta, CACHE_LEN, e);
	return q->tables ? 0 : -1;
}

int vhdx_load(struct image *img, struct err *e)
{
	struct vhdx *q = vhdx_of(img);

	vhdx_meta_clear(&q->m);
	if (vhdx_regions_read(
		q->file, &q->bat, &q->meta_region, NULL, NULL, e) ||
	    vhdx_meta_read(q->file, &q->meta_region, &q->m, e) ||
	    check_bat(img, e) || new_tables(img, e))
		return -1;
	atomic_store(&img->size, q->m.size);
	img->unit = q->m.sector_len;
	return 0;
}

static int set_names(struct image *img, struct err *e)
{
	const struct vhdx *q = vhdx_of(img);

	if (!q->m.has_parent)
		return 0;
	img->backing_name = vhdx_locator_path(&q->m.parent, e);
	img->backing_fmt = img->backing_name ? strdup("vhdx") : NULL;
	if (img->backing_fmt)
		return 0;
	return err_is_set(e) ? -1 : err_nomem(e);
}

static void close_image(struct image *img)
{
	struct vhdx *q = vhdx_of(img);
	struct vhdx_pending *p;

	while ((p = q->pending)) {
		q->pending = p->next;
		free(p);
	}
	tables_free(q->tables);
	img->tables = NULL;
	space_destroy(&q->space);
	vhdx_meta_clear(&q->m);
	host_put(q->file);
	vhdx_log_clear(&q->log);
	free(q);
}

static int read_all(struct image *img, struct err *e)
{
	struct vhdx *q = vhdx_of(img);

	if (vhdx_header_read(img->file, &q->h, e) ||
	    vhdx_log_read(img->file, &q->h, &q->log, e))
		return -1;
	q->file = q->log.n ? vhdx_overlay(img->file, &q->log, e)
			   : host_ref(img->file);
	return !q->file || vhdx_load(img, e) || set_names(img, e) ? -1 : 0;
}

static int open_image(struct image *img, struct options *o, struct err *e)
{
	uint8_t magic[sizeof identifier];

	(void)o;
	if (host_pread(img->file, magic, sizeof magic, 0, e))
		return -1;
	if (memcmp(magic, identifier, sizeof magic))
		return err_set(
		    e, ERR_NOT_FORMAT, EINVAL, "Image not in VHDX format");
	img->priv = calloc(1, sizeof(struct vhdx));
	if (!img->priv)
		return err_nomem(e);
	if (!read_all(img, e))
		return 0;
	close_image(img);
	return -1;
}

/* What the log says becomes what the file says. */
static int replay(struct image *img, struct err *e)
{
	struct vhdx *q = vhdx_of(img);

	/* The headers change before anything else does. */
	if (vhdx_guid_new(&q->h.file_write, e) ||
	    vhdx_header_write(img->file, &q->h, e) ||
	    vhdx_log_replay(img->file, &q->log, e))
		return -1;
	q->h.log_guid = (struct vhdx_guid){0};
	if (vhdx_header_write(img->file, &q->h, e))
		return -1;
	q->replayed = true;
	tables_free(q->tables);
	img->tables = q->tables = NULL;
	host_put(q->file);
	q->file = host_ref(img->file);
	vhdx_log_clear(&q->log);
	return vhdx_load(img, e);
}

static int start(struct image *img, struct err *e)
{
	const struct vhdx *q = vhdx_of(img);

	if (image_writable(img)) {
		if (q->log.n && replay(img, e))
			return -1;
		if (!(img->flags & IMG_O_CHECK) && vhdx_space_scan(img, e))
			return -1;
	}
	return vhdx_parent_check(img, e);
}

static int stop(struct image *img, struct err *e)
{
	return vhdx_log_end(img, e);
}

static int describe(struct image *img, struct img_info *out, struct err *e)
{
	(void)e;
	out->cluster_size = vhdx_of(img)->m.block_len;
	out->dirty = 0;
	return 0;
}

const struct driver vhdx_driver = {
    .info =
	{
	    .name = "vhdx",
	    .can_create = true,
	    .can_backing = true,
	    .can_check = true,
	    .can_resize = true,
	    .can_measure = true,
	    .create_opts = vhdx_create_opts,
	},
    .probe = probe,
    .open = open_image,
    .start = start,
    .first_write = vhdx_first_write,
    .stop = stop,
    .close = close_image,
    .map = vhdx_map,
    .reserve = vhdx_reserve,
    .publish = vhdx_publish,
    .abandon = vhdx_abandon,
    .unmap = vhdx_unmap,
    .release = vhdx_release,
    .commit = vhdx_commit,
    .create = vhdx_create,
    .create_check = vhdx_create_check,
    .resize = vhdx_resize,
    .walk = vhdx_walk,
    .check = vhdx_check,
    .repair = vhdx_repair,
    .measure = vhdx_measure,
    .describe = describe,
    .make_empty = vhdx_make_empty,
    .set_backing = vhdx_set_backing,
    .renew_below = vhdx_renew_below,
};
