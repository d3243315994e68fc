/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Opening and closing qcow2 images, and the directories that stay in memory:
 * the L1 table and, for writing, the refcount table.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "../core/open.h"
#include "crypt.h"

bool qcow2_cluster_ok(const struct qcow2 *q, uint64_t host, uint64_t len)
{
	return is_aligned(host, q->cluster_len) && range_ok(host, len, q->end);
}

int qcow2_bad_entry(const struct image *img, const struct qcow2_bad *b,
    const char *why, struct err *e)
{
	return err_set(e, ERR_DAMAGED, EIO,
	    "%s: %s at %#llx: entry %llu %s: it is %#llx, the file has %llu "
	    "bytes in clusters of %u",
	    img->name, b->table, (unsigned long long)b->host,
	    (unsigned long long)b->ix, why, (unsigned long long)b->entry,
	    (unsigned long long)host_size(img->file),
	    qcow2_of(img)->cluster_len);
}

void qcow2_geometry(struct qcow2 *q)
{
	bool extended = q->h.incompatible & QCOW2_I_EXTENDED_L2;

	q->cluster_len = 1u << q->h.cluster_bits;
	q->l2_entry_len = extended ? 16 : 8;
	q->l2_n = q->cluster_len / q->l2_entry_len;
	q->slice_len = min_u64(q->cluster_len, TABLE_LEN_MAX);
	q->sub_n = extended ? 32 : 1;
	q->sub_len = q->cluster_len / q->sub_n;
	q->refblock_n = 8ull * q->cluster_len >> q->h.refcount_order;
	q->codec = q->h.compression ? CODEC_ZSTD : CODEC_DEFLATE;
	q->data_raw = q->h.autoclear & QCOW2_A_DATA_RAW;
}

/* ---- directories -------------------------------------------------------- */

void qcow2_drop_slices(struct qcow2 *q, struct table **slice, uint32_t n)
{
	for (uint32_t i = 0; slice && i < n; i++)
		tables_put(q->tables, slice[i]);
	free(slice);
}

static struct table **load_slices(struct image *img, uint64_t host,
    uint64_t len, enum table_level level, uint32_t *n, struct err *e)
{
	struct qcow2 *q = qcow2_of(img);
	struct table **slice;

	*n = div_up(len, q->slice_len);
	slice = calloc(*n + 1, sizeof(*slice));
	if (!slice) {
		err_nomem(e);
		return NULL;
	}
	for (uint32_t i = 0; i < *n; i++) {
		uint64_t at = (uint64_t)i * q->slice_len;

		slice[i] = tables_get(q->tables, host + at,
		    min_u64(len - at, q->slice_len), level, e);
		if (slice[i])
			continue;
		qcow2_drop_slices(q, slice, i);
		return NULL;
	}
	return slice;
}

int qcow2_load_l1(struct image *img, struct err *e)
{
	struct qcow2 *q = qcow2_of(img);
	struct table **l1 = load_slices(
	    img, q->h.l1_host, 8ull * q->h.l1_n, TABLE_MAP, &q->l1_slices_n, e);

	if (!l1) {
		err_prefix(e, "%s: L1 table: ", img->name);
		return -1;
	}
	q->l1 = l1;
	return 0;
}

int qcow2_load_reftable(struct image *img, struct err *e)
{
	struct qcow2 *q = qcow2_of(img);
	struct table **t = load_slices(img, q->h.reftable_host,
	    (uint64_t)q->h.reftable_cl * q->cluster_len, TABLE_ROOT,
	    &q->reftable_slices_n, e);

	if (!t) {
		err_prefix(e, "%s: refcount table: ", img->name);
		return -1;
	}
	q->reftable = t;
	return 0;
}

/* ---- open --------------------------------------------------------------- */

static bool probe(const struct probe_in *p)
{
	return p->head_len >= 8 && be32(p->head) == QCOW2_MAGIC &&
	       be32(p->head + 4) >= 2;
}

static int refuse(struct image *img, struct err *e)
{
	const struct qcow2 *q = qcow2_of(img);
	bool check = img->flags & IMG_O_CHECK;

	if (!image_writable(img) || check)
		return 0;
	if (q->h.incompatible & QCOW2_I_CORRUPT)
		return err_set(e, ERR_DAMAGED, EACCES,
		    "qcow2: Image is corrupt; cannot be opened read/write");
	return 0;
}

/* Not closed properly, and to be written: its counts may be wrong. */
static bool must_recover(const struct image *img)
{
	return image_writable(img) && !(img->flags & IMG_O_CHECK) &&
	       qcow2_of(img)->h.incompatible & QCOW2_I_DIRTY;
}

static int open_data_file(struct image *img, struct options *o, struct err *e)
{
	struct qcow2 *q = qcow2_of(img);
	CLEANUP(options) struct options *sub = options_sub(o, "data-file", e);
	const char *node = options_get(o, "data-file");
	CLEANUP_FREE char *name = NULL;

	q->data = img->file;
	if (!sub)
		return -1;
	if (node)
		return err_usage(e,
		    "Cannot find device='%s' nor node-name='%s'", node, node);
	if (!(q->h.incompatible & QCOW2_I_DATA_FILE))
		return options_empty(sub)
			   ? 0
			   : err_usage(e,
				 "'data-file' can only be set for images with "
				 "an external data file");
	q->data = NULL;
	if (img->open_gate == IMG_GATE_METADATA)
		return 0;
	if (!options_empty(sub)) {
		q->data = open_file_options(sub, img->host_flags, e);
		return q->data ? 0 : -1;
	}
	if (!q->h.data_file)
		return err_damaged(e,
		    "%s: 'data-file' is required for this image, and it names "
		    "none",
		    img->name);
	if (img->open_gate == IMG_GATE_DENY)
		return err_set(e, ERR_UNSUPPORTED, EPERM,
		    "%s: names the data file '%s', and opening other files is "
		    "not allowed",
		    img->name, q->h.data_file);
	name = image_resolve(img->name, q->h.data_file, e);
	if (!name || !open_plain_path(name, e))
		return -1;
	q->data = host_open_file(open_plain_path(name, e), img->host_flags, e);
	return q->data ? 0 : -1;
}

/* Tables and the files around the header. */
static int open_rest(struct image *img, struct options *o, struct err *e)
{
	struct qcow2 *q = qcow2_of(img);

	q->end = round_up(host_size(img->file), q->cluster_len);
	if (qcow2_runtime_read(q, o, e))
		return -1;
	q->tables = tables_new_cache(img->file, &img->meta, q->cache_len, e);
	if (!q->tables)
		return -1;
	img->tables = q->tables;
	if (refuse(img, e) || open_data_file(img, o, e) ||
	    qcow2_crypt_open(img, o, e))
		return -1;
	if (q->data && q->data != img->file && open_lock(q->data, e))
		return -1;
	if (q->data && q->data == img->file && q->h.data_file)
		return err_damaged(e, "%s: data file is the image", img->name);
	if (img->open_gate == IMG_GATE_METADATA)
		return 0;
	if (img->snapshot && qcow2_snapshot_select(img, img->snapshot, e))
		return -1;
	if ((img->flags & IMG_O_CHECK) || must_recover(img))
		return 0;
	return qcow2_load_l1(img, e);
}

static void close_image(struct image *img)
{
	struct qcow2 *q = qcow2_of(img);

	qcow2_drop_slices(q, q->l1, q->l1_slices_n);
	qcow2_drop_slices(q, q->reftable, q->reftable_slices_n);
	tables_free(q->tables);
	clusterset_destroy(&q->meta);
	luks_free(q->luks);
	if (q->data != img->file)
		host_put(q->data);
	qcow2_header_clear(&q->h);
	free(q);
	img->priv = NULL;
	img->tables = NULL;
}

static char *copy_text(const char *text, struct err *e)
{
	char *copy = strdup(text);

	if (!copy)
		err_nomem(e);
	return copy;
}

static int take_names(struct image *img, struct err *e)
{
	const struct qcow2_header *h = &qcow2_of(img)->h;

	if (h->backing) {
		img->backing_name = copy_text(h->backing, e);
		if (!img->backing_name)
			return -1;
	}
	if (h->backing_fmt) {
		img->backing_fmt = copy_text(h->backing_fmt, e);
		if (!img->backing_fmt)
			return -1;
	}
	return 0;
}

static int open_image(struct image *img, struct options *o, struct err *e)
{
	struct qcow2 *q = calloc(1, sizeof *q);

	if (!q)
		return err_nomem(e);
	clusterset_init(&q->meta);
	img->priv = q;
	if (qcow2_header_read(img->file, img->flags & IMG_O_CHECK, &q->h, e)) {
		free(q);
		img->priv = NULL;
		return -1;
	}
	qcow2_geometry(q);
	img->unit = q->cluster_len;
	img->grain = q->sub_len;
	/* A data file has no compressed clusters. */
	img->codec =
	    q->h.incompatible & QCOW2_I_DATA_FILE ? CODEC_NONE : q->codec;
	atomic_store(&img->size, q->h.size);
	if (take_names(img, e) || open_rest(img, o, e)) {
		close_image(img);
		return -1;
	}
	return 0;
}

/*
 * Autoclear features that we do not keep up to date are switched off before
 * the first write, as the specification asks: their data would go stale.
 */
int qcow2_clear_features(struct image *img, struct err *e)
{
	struct qcow2 *q = qcow2_of(img);
	uint64_t kept = q->h.autoclear & (QCOW2_A_DATA_RAW | QCOW2_A_BITMAPS);

	if (q->h.autoclear == kept)
		return 0;
	q->h.autoclear = kept;
	if (qcow2_header_write(img, e) || host_sync(img->file, e))
		return -1;
	return 0;
}

/* Nothing of the image is in memory yet, as in one that is only checked. */
static int recover(struct image *img, struct err *e)
{
	struct qcow2 *q = qcow2_of(img);
	struct img_check found = {0};
	int rc;

	img->flags |= IMG_O_CHECK;
	rc = qcow2_repair(img, IMG_REPAIR_ALL, &found, NULL, NULL, e);
	img->flags &= ~IMG_O_CHECK;
	if (!rc && q->h.incompatible & QCOW2_I_DIRTY) {
		rc = err_set(e, ERR_DAMAGED, EACCES,
		    "%" PRIu64 " errors cannot be repaired",
		    found.corruptions + found.check_errors);
		err_hint(e, "See what check -r all says.");
	}
	if (rc) {
		err_prefix(e,
		    "%s: was not closed properly (dirty bit), and could not be "
		    "repaired: ",
		    img->name);
		return -1;
	}
	q->end = round_up(host_size(img->file), q->cluster_len);
	return qcow2_load_l1(img, e);
}

static int start(struct image *img, struct err *e)
{
	if (!image_writable(img) || (img->flags & IMG_O_CHECK))
		return 0;
	if (must_recover(img) && recover(img, e))
		return -1;
	if (qcow2_load_reftable(img, e) || qcow2_own_metadata(img, e))
		return -1;
	return qcow2_clear_features(img, e);
}

/* The counts that the last commit lowered. */
static int stop(struct image *img, struct err *e)
{
	struct qcow2 *q = qcow2_of(img);
	int rc;

	rwlock_excl(&img->meta);
	rc = tables_write_counts(q->tables, e);
	rwlock_excl_end(&img->meta);
	return rc ? -1 : host_sync(img->file, e);
}

const struct driver qcow2_driver = {
    .info =
	{
	    .name = "qcow2",
	    .can_create = true,
	    .can_backing = true,
	    .can_pack = true,
	    .can_check = true,
	    .can_resize = true,
	    .can_measure = true,
	    .has_snapshots = true,
	    .has_bitmaps = true,
	    .create_opts = qcow2_create_opts,
	    .amend_opts = qcow2_amend_opts,
	},
    .probe = probe,
    .open = open_image,
    .start = start,
    .stop = stop,
    .close = close_image,
    .map = qcow2_map,
    .reserve = qcow2_reserve,
    .publish = qcow2_publish,
    .abandon = qcow2_abandon,
    .unmap = qcow2_unmap,
    .release = qcow2_release,
    .commit = qcow2_commit,
    .create = qcow2_create,
    .create_check = qcow2_create_check,
    .resize = qcow2_resize,
    .walk = qcow2_walk,
    .check = qcow2_check,
    .repair = qcow2_repair,
    .measure = qcow2_measure,
    .describe = qcow2_describe,
    .snapshots = &qcow2_snapshots,
    .bitmaps = &qcow2_bitmap_ops,
    .amend = &qcow2_amend,
    .make_empty = qcow2_make_empty,
    .set_backing = qcow2_set_backing,
};
