/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Making a qcow2 image.
 *
 * Clusters in this order: header, refcount table, refcount blocks, L1 table,
 * encryption header.
 * The header goes last: until it is there the file is no image at all.
 */
#include <errno.h>
#include <sys/stat.h>

#include "../core/open.h"
#include "../core/prealloc.h"
#include "params.h"
#include "refbits.h"

/* Where the first tables are, in clusters. */
struct layout {
	uint32_t cluster_len;
	uint64_t reftable_cl; /* the table begins at cluster 1 */
	uint64_t refblock_n;
	uint64_t l1_cl, crypt_len, used_cl;
};

static struct layout lay_out(const struct qcow2_params *p)
{
	struct layout l = {.cluster_len = 1u << p->cluster_bits};
	uint64_t fixed;

	l.l1_cl = div_up(p->l1_n * 8, l.cluster_len);
	l.crypt_len = qcow2_crypt_len(&p->crypt);
	fixed = 1 + l.l1_cl + div_up(l.crypt_len, l.cluster_len);
	qcow2_refcount_space(p, fixed, &l.reftable_cl, &l.refblock_n);
	l.used_cl = fixed + l.reftable_cl + l.refblock_n;
	return l;
}

static uint64_t refblock_host(const struct layout *l, uint64_t i)
{
	return (1 + l->reftable_cl + i) * l->cluster_len;
}

static uint64_t l1_host(const struct layout *l)
{
	return refblock_host(l, l->refblock_n);
}

static uint64_t crypt_host(const struct layout *l)
{
	return l1_host(l) + l->l1_cl * l->cluster_len;
}

static int write_reftable(
    struct hostfile *f, const struct layout *l, struct err *e)
{
	size_t len = l->reftable_cl * l->cluster_len;
	CLEANUP_FREE uint8_t *table = calloc(1, len);

	if (!table)
		return err_nomem(e);
	for (uint64_t i = 0; i < l->refblock_n; i++)
		put_be64(table + i * 8, refblock_host(l, i));
	return host_pwrite(f, table, len, l->cluster_len, e);
}

static int write_refblocks(struct hostfile *f, const struct layout *l,
    const struct qcow2_params *p, struct err *e)
{
	uint64_t per_block = 8ull * l->cluster_len >> p->refcount_order;
	CLEANUP_FREE uint8_t *block = malloc(l->cluster_len);

	if (!block)
		return err_nomem(e);
	for (uint64_t i = 0; i < l->refblock_n; i++) {
		uint64_t n = min_u64(per_block, l->used_cl - i * per_block);

		memset(block, 0, l->cluster_len);
		for (uint64_t ix = 0; ix < n; ix++)
			refbits_put(block, p->refcount_order, ix, 1);
		if (host_pwrite(
			f, block, l->cluster_len, refblock_host(l, i), e))
			return -1;
	}
	return 0;
}

static void set_header(struct qcow2_header *h, const struct layout *l,
    const struct qcow2_params *p, const struct create_args *a)
{
	*h = (struct qcow2_header){
	    .version = p->version,
	    .cluster_bits = p->cluster_bits,
	    .size = p->size,
	    .l1_n = (uint32_t)p->l1_n,
	    .l1_host = p->l1_n ? l1_host(l) : 0,
	    .reftable_host = l->cluster_len,
	    .reftable_cl = (uint32_t)l->reftable_cl,
	    .refcount_order = p->refcount_order,
	    .crypt_method = p->crypt.method,
	    .compression = p->compression,
	    .backing = (char *)a->backing,
	    .backing_fmt = (char *)a->backing_fmt,
	    .data_file = (char *)p->data_file,
	};
	if (l->crypt_len) {
		h->crypt.host = crypt_host(l);
		h->crypt.len = l->crypt_len;
	}
	if (p->data_file)
		h->incompatible |= QCOW2_I_DATA_FILE;
	if (p->compression)
		h->incompatible |= QCOW2_I_CODEC;
	if (p->extended)
		h->incompatible |= QCOW2_I_EXTENDED_L2;
	if (p->lazy)
		h->compatible |= QCOW2_C_LAZY;
	if (p->data_raw)
		h->autoclear |= QCOW2_A_DATA_RAW;
}

/* The header cluster of the image to be made. */
static uint8_t *make_header(const struct layout *l,
    const struct qcow2_params *p, const struct create_args *a, struct err *e)
{
	uint8_t *buf = calloc(1, l->cluster_len);
	struct qcow2_header h;

	if (!buf) {
		err_nomem(e);
		return NULL;
	}
	set_header(&h, l, p, a);
	if (!qcow2_header_pack(&h, buf, l->cluster_len, e))
		return buf;
	free(buf);
	return NULL;
}

/* Everything that can be wrong; *header is the caller's. */
static int prepare(const struct create_args *a, struct qcow2_params *p,
    struct layout *l, uint8_t **header, struct err *e)
{
	if (qcow2_params_read(a->o, a->size, a->backing, p, e))
		return -1;
	*l = lay_out(p);
	*header = make_header(l, p, a, e);
	return *header ? 0 : -1;
}

static bool same_file(const char *a, const char *b)
{
	struct stat x, y;

	if (stat(a, &x) || stat(b, &y))
		return !strcmp(a, b);
	return x.st_dev == y.st_dev && x.st_ino == y.st_ino;
}

/* The data file is overwritten: it must not be one of the other files. */
static int check_data_file(
    const struct create_args *a, const struct qcow2_params *p, struct err *e)
{
	CLEANUP_FREE char *data = image_resolve(a->name, p->data_file, e);
	CLEANUP_FREE char *backing = NULL;

	if (a->backing)
		backing = image_resolve(a->name, a->backing, e);
	if (!data || (a->backing && !backing))
		return -1;
	if (same_file(data, a->name) || (backing && same_file(data, backing)))
		return err_usage(e,
		    "The data file '%s' is the image or its backing file",
		    p->data_file);
	return 0;
}

int qcow2_create_check(const struct create_args *a, struct err *e)
{
	CLEANUP_FREE uint8_t *header = NULL;
	struct qcow2_params p;
	struct layout l;

	if (a->backing_fmt && !a->backing)
		return err_usage(
		    e, "Backing format cannot be used without backing file");
	if (prepare(a, &p, &l, &header, e))
		return -1;
	return p.data_file ? check_data_file(a, &p, e) : 0;
}

static int create_data_file(
    const struct create_args *a, const struct qcow2_params *p, struct err *e)
{
	CLEANUP_FREE char *name = image_resolve(a->name, p->data_file, e);
	const char *path = name ? open_plain_path(name, e) : NULL;
	struct hostfile *f;
	int rc;

	if (!path)
		return -1;
	f = host_open_file(path, HOST_RDWR | HOST_CREATE | a->open_flags, e);
	if (!f)
		return -1;
	rc = open_lock(f, e);
	if (!rc && !f->fixed_size)
		rc = host_truncate(f, 0, e);
	if (!rc && !f->fixed_size)
		rc = host_truncate(f, p->size, e);
	if (!rc && host_size(f) < p->size)
		rc = err_set(e, ERR_SYSTEM, ENOSPC,
		    "%s: the data file has %llu bytes, the disk needs %llu",
		    f->name, (unsigned long long)host_size(f),
		    (unsigned long long)p->size);
	return host_close(f, e) ? -1 : rc;
}

static int preallocate(
    const struct create_args *a, const struct qcow2_params *p, struct err *e)
{
	CLEANUP(options) struct options *o = options_new(e);
	const struct img_open how = {.format = "qcow2",
	    .flags = IMG_O_RDWR | IMG_O_NO_BACKING,
	    .options = o,
	    .cache = a->file->flags & HOST_NOSYNC ? IMG_CACHE_UNSAFE
						  : IMG_CACHE_WRITEBACK};
	struct image *img;
	int rc;

	if (!o || options_set(o, "encrypt.key-secret",
		      options_get(a->o, "encrypt.key-secret"), e))
		return -1;
	img = img_open_host(host_ref(a->file), &how, e);
	if (!img)
		return -1;
	rc = img_preallocate(img, 0, p->size, p->prealloc, e);
	return img_close(img, e) ? -1 : rc;
}

int qcow2_create(const struct create_args *a, struct err *e)
{
	CLEANUP_FREE uint8_t *header = NULL;
	struct qcow2_params p;
	struct layout l;

	if (prepare(a, &p, &l, &header, e) ||
	    (p.data_file && create_data_file(a, &p, e)) ||
	    write_reftable(a->file, &l, e) ||
	    write_refblocks(a->file, &l, &p, e) ||
	    (p.l1_n && host_zero(a->file, l1_host(&l), p.l1_n * 8, 0, e)) ||
	    qcow2_crypt_create(
		a->file, a->name, crypt_host(&l), l.cluster_len, &p.crypt, e) ||
	    host_pwrite(a->file, header, l.cluster_len, 0, e))
		return -1;
	return p.prealloc == IMG_PREALLOC_OFF ? 0 : preallocate(a, &p, e);
}
