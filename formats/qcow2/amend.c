/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Changing what an image was created with.
 *
 * All that can be refused is refused before anything changes.  Then:
 *   0 key slots of the encryption header
 *   1 the header: version up, features, names, width of the counts, all with
 *     one write of it
 *   2 the size
 *   3 version down: zero flags first, then the header
 * Between them the image is valid and reads the same.
 *
 * The gate is closed and everything is committed.
 */
#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "amend.h"
#include "crypt.h"
#include "params.h"
#include "resize.h"

const struct img_opt qcow2_amend_opts[] = {
    {"backing_file", IMG_OPT_STR, "File name of a base image", NULL},
    {"backing_fmt", IMG_OPT_STR, "Image format of the base image", NULL},
    {"compat", IMG_OPT_STR, "Compatibility level (v2 [0.10] or v3 [1.1])",
	NULL},
    {"data_file", IMG_OPT_STR, "File name of an external data file", NULL},
    {"data_file_raw", IMG_OPT_BOOL,
	"The external data file must stay valid as a raw image", NULL},
    {"encrypt.iter-time", IMG_OPT_NUM, "Time to spend in PBKDF in milliseconds",
	NULL},
    {"encrypt.keyslot", IMG_OPT_NUM,
	"Select a single keyslot to modify explicitly", NULL},
    {"encrypt.new-secret", IMG_OPT_STR,
	"New secret to set in the matching keyslots. Empty string to erase",
	NULL},
    {"encrypt.old-secret", IMG_OPT_STR,
	"Select all keyslots that match this password", NULL},
    {"encrypt.state", IMG_OPT_STR,
	"Select new state of affected keyslots (active/inactive)", NULL},
    {"lazy_refcounts", IMG_OPT_BOOL, "Postpone refcount updates", NULL},
    {"refcount_bits", IMG_OPT_NUM, "Width of a reference count entry in bits",
	NULL},
    {"size", IMG_OPT_SIZE, "Virtual disk size", NULL},
    {0},
};

/* What the image is to be. */
struct plan {
	unsigned version, order;
	bool lazy, data_raw;
	const char *data_file; /* "": none is named */
	uint64_t size;
	struct options *o;
};

/* ---- reading ------------------------------------------------------------- */

static int read_compat(struct plan *p, struct err *e)
{
	const char *text = options_get(p->o, "compat");

	if (text)
		p->version = qcow2_version_of(text);
	if (p->version)
		return 0;
	return err_usage(e, "Unknown compatibility level %s", text);
}

static bool is_image(const struct image *img, const char *name)
{
	struct err ignored = ERR_INIT;
	CLEANUP_FREE char *full = image_resolve(img->name, name, &ignored);
	struct stat a, b;

	return full && !stat(full, &a) && !stat(img->file->name, &b) &&
	       a.st_dev == b.st_dev && a.st_ino == b.st_ino;
}

static int read_data_file(struct image *img, struct plan *p, struct err *e)
{
	const struct qcow2 *q = qcow2_of(img);
	const char *name = options_get(p->o, "data_file");
	bool was_raw = p->data_raw;

	if (name && !(q->h.incompatible & QCOW2_I_DATA_FILE))
		return err_usage(e, "data-file can only be set for images that "
				    "use an external data file");
	if (name && is_image(img, name))
		return err_usage(e, "data file '%s' is the image", name);
	if (name)
		p->data_file = name;
	if (options_bool(p->o, "data_file_raw", &p->data_raw, e) < 0)
		return -1;
	if (p->data_raw && !was_raw)
		return err_usage(
		    e, "data-file-raw cannot be set on existing images");
	return 0;
}

static int read_plan(struct image *img, struct plan *p, struct err *e)
{
	const struct qcow2 *q = qcow2_of(img);
	uint64_t size = 0;

	p->version = q->h.version;
	p->order = q->h.refcount_order;
	p->lazy = q->h.compatible & QCOW2_C_LAZY;
	p->data_raw = q->data_raw;
	p->data_file = q->h.data_file ? q->h.data_file : "";
	if (read_compat(p, e) || read_data_file(img, p, e) ||
	    qcow2_refcount_order_read(p->o, &p->order, e) ||
	    options_bool(p->o, "lazy_refcounts", &p->lazy, e) < 0 ||
	    options_size(p->o, "size", &size, e) < 0)
		return -1;
	/* Version 2 has no features. */
	if (p->version < 3 && !options_has(p->o, "lazy_refcounts"))
		p->lazy = false;
	p->size = size ? size : img_size(img);
	return 0;
}

/* ---- what can be refused ------------------------------------------------- */

static bool same_text(const char *a, const char *b)
{
	return a && b ? !strcmp(a, b) : a == b;
}

/* It is named here, or left out, as it is. */
static int check_backing(const struct image *img, struct plan *p, struct err *e)
{
	const struct qcow2_header *h = &qcow2_of(img)->h;
	const char *name = options_get(p->o, "backing_file");
	const char *format = options_get(p->o, "backing_fmt");

	if ((!name && !format) ||
	    (same_text(name, h->backing) && same_text(format, h->backing_fmt)))
		return 0;
	err_usage(e, "Cannot amend the backing file");
	err_hint(e, "Use rebase for that.");
	return -1;
}

static int check_snapshots(
    struct image *img, const struct plan *p, struct err *e)
{
	struct qcow2_snapshot_table t;
	bool fit = true;

	if (qcow2_snapshots_read(img, &t, e))
		return -1;
	for (size_t i = 0; i < t.n; i++)
		fit &= t.item[i].vm.disk_size == p->size &&
		       t.item[i].vm.vm_state_size <= UINT32_MAX;
	qcow2_snapshots_clear(&t);
	return fit ? 0
		   : err_unsupported(e, "Internal snapshots prevent downgrade "
					"of image");
}

/* A codec other than that of version 2 is no harm while nothing is packed. */
static int check_codec(struct image *img, struct err *e)
{
	bool packed = false;

	if (qcow2_of(img)->h.compression &&
	    qcow2_amend_any_packed(img, &packed, e))
		return -1;
	return packed ? err_unsupported(e,
			    "Cannot downgrade an image with zstd compression "
			    "type and existing compressed clusters")
		      : 0;
}

static int check_down(struct image *img, const struct plan *p, struct err *e)
{
	const struct qcow2 *q = qcow2_of(img);
	uint64_t features = q->h.incompatible & ~QCOW2_I_CODEC;
	int bitmaps;

	if (p->order != 4)
		return err_unsupported(
		    e, "compat=0.10 requires refcount_bits=16");
	if (features & QCOW2_I_DATA_FILE)
		return err_unsupported(
		    e, "Cannot downgrade an image with a data file");
	if (check_snapshots(img, p, e))
		return -1;
	if (features)
		return err_unsupported(e,
		    "Cannot downgrade an image with incompatible features "
		    "%#llx set",
		    (unsigned long long)features);
	bitmaps = bitmaps_any(img, e);
	if (bitmaps > 0)
		err_unsupported(
		    e, "Cannot downgrade an image with dirty bitmaps");
	return bitmaps ? -1 : check_codec(img, e);
}

static int check(struct image *img, struct plan *p, struct err *e)
{
	const struct qcow2 *q = qcow2_of(img);

	if (p->order != 4 && p->order != q->h.refcount_order && p->version < 3)
		return err_usage(e,
		    "Refcount widths other than 16 bits require compatibility "
		    "level 1.1 or above (use compat=1.1 or greater)");
	if (check_backing(img, p, e))
		return -1;
	if (p->lazy && p->version < 3)
		return err_usage(e,
		    "Lazy refcounts only supported with compatibility level "
		    "1.1 and above (use compat=1.1 or greater)");
	if (p->size != img_size(img) &&
	    qcow2_resize_check(
		img, max_u64(p->version, q->h.version), p->size, e))
		return -1;
	return p->version < q->h.version ? check_down(img, p, e) : 0;
}

/* ---- the header ---------------------------------------------------------- */

/* The fields that step 1 changes. */
struct fields {
	unsigned version;
	uint64_t compatible, autoclear;
	char *data_file;
};

static struct fields fields_of(const struct qcow2_header *h)
{
	return (struct fields){
	    h->version, h->compatible, h->autoclear, h->data_file};
}

static void put_fields(struct qcow2 *q, const struct fields *f)
{
	q->h.version = f->version;
	q->h.compatible = f->compatible;
	q->h.autoclear = f->autoclear;
	q->h.data_file = f->data_file;
	qcow2_geometry(q);
}

static bool same_fields(const struct fields *a, const struct fields *b)
{
	return a->version == b->version && a->compatible == b->compatible &&
	       a->autoclear == b->autoclear &&
	       same_text(a->data_file, b->data_file);
}

static int plan_fields(const struct plan *p, const struct fields *old,
    struct fields *new, struct err *e)
{
	*new = *old;
	new->data_file = NULL;
	if (*p->data_file && !(new->data_file = strdup(p->data_file)))
		return err_nomem(e);
	/* Down comes later. */
	if (p->version > new->version)
		new->version = p->version;
	if (new->version < 3)
		return 0;
	new->compatible &= ~QCOW2_C_LAZY;
	if (p->lazy)
		new->compatible |= QCOW2_C_LAZY;
	if (!p->data_raw)
		new->autoclear &= ~QCOW2_A_DATA_RAW;
	return 0;
}

/* With the fields in memory, is there room for them? */
static int write_fields(struct image *img, const struct plan *p, struct err *e)
{
	struct qcow2 *q = qcow2_of(img);
	CLEANUP_FREE uint8_t *trial = calloc(1, q->cluster_len);

	if (!trial)
		return err_nomem(e);
	if (qcow2_header_pack(&q->h, trial, q->cluster_len, e))
		return -1;
	if (p->order != q->h.refcount_order)
		return qcow2_amend_counts(img, p->order, e);
	return qcow2_header_switch(img, e) ? image_fail(img, e) : 0;
}

static int change_header(struct image *img, const struct plan *p, struct err *e)
{
	struct qcow2 *q = qcow2_of(img);
	struct fields old = fields_of(&q->h), new;
	int rc = plan_fields(p, &old, &new, e);

	if (!rc && new.version > old.version)
		rc = qcow2_snapshots_complete(img, e);
	if (rc ||
	    (same_fields(&old, &new) && p->order == q->h.refcount_order)) {
		free(new.data_file);
		return rc;
	}
	put_fields(q, &new);
	rc = write_fields(img, p, e);
	if (rc)
		put_fields(q, &old);
	free(rc ? new.data_file : old.data_file);
	return rc;
}

/* ---- version down -------------------------------------------------------- */

static int go_down(struct image *img, struct err *e)
{
	struct qcow2 *q = qcow2_of(img);

	if (qcow2_amend_zeroes(img, e))
		return -1;
	q->h.version = 2;
	q->h.header_len = QCOW2_V2_LEN;
	q->h.incompatible = q->h.compatible = q->h.autoclear = 0;
	q->h.compression = 0;
	free(q->h.more);
	q->h.more = NULL;
	if (qcow2_header_switch(img, e))
		return image_fail(img, e);
	qcow2_geometry(q);
	img->codec = q->codec;
	return 0;
}

/* ---- the whole ----------------------------------------------------------- */

static int amend(struct image *img, struct options *o, struct err *e)
{
	const struct qcow2 *q = qcow2_of(img);
	struct plan p = {.o = o};
	bool down;

	if (read_plan(img, &p, e) || check(img, &p, e) ||
	    qcow2_crypt_amend(img, o, e))
		return -1;
	down = p.version < q->h.version;
	if (change_header(img, &p, e))
		return -1;
	if (p.size != img_size(img) &&
	    image_resize(img, p.size, IMG_PREALLOC_OFF, e))
		return -1;
	return down ? go_down(img, e) : 0;
}

const struct amend_ops qcow2_amend = {.amend = amend};
