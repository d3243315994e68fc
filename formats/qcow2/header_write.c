/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Making the qcow2 header: fixed fields, extensions, backing file name.
 *
 * The whole first cluster belongs to the header, so it is made whole; what
 * other programs put into it (unknown fields and extensions) is kept.
 */
#include <errno.h>

#include "qcow2.h"

#define EXT_HEAD_LEN  8u
#define FEATURE_LEN   48u
#define STAGED_LEN    512u /* of the header, in the table cache */
#define REFTABLE_AT   48u
#define FEATURES_ROOM 4096u /* below that there is no table of names */

/* A cursor over the cluster; `full` once something did not fit. */
struct out {
	uint8_t *p;
	uint32_t pos, len;
	bool full;
};

static const struct {
	uint8_t kind, bit; /* kind: 0 incompatible, 1 compatible, 2 autoclear */
	const char *name;
} features[] = {
    {0, 0, "dirty bit"},
    {0, 1, "corrupt bit"},
    {0, 2, "external data file"},
    {0, 3, "compression type"},
    {0, 4, "extended L2 entries"},
    {1, 0, "lazy refcounts"},
    {2, 0, "bitmaps"},
    {2, 1, "raw external data"},
};

static void put_fixed(const struct qcow2_header *h, uint8_t *p)
{
	put_be32(p, QCOW2_MAGIC);
	put_be32(p + 4, h->version);
	put_be32(p + 20, h->cluster_bits);
	put_be64(p + 24, h->size);
	put_be32(p + 32, h->crypt_method);
	put_be32(p + 36, h->l1_n);
	put_be64(p + 40, h->l1_host);
	put_be64(p + REFTABLE_AT, h->reftable_host);
	put_be32(p + REFTABLE_AT + 8, h->reftable_cl);
	put_be32(p + 60, h->snapshot_n);
	put_be64(p + 64, h->snapshot_host);
}

static uint32_t put_v3(const struct qcow2_header *h, uint8_t *p)
{
	uint32_t len = QCOW2_OUR_LEN;

	if (h->more)
		len = h->header_len;
	put_be64(p + 72, h->incompatible);
	put_be64(p + 80, h->compatible);
	put_be64(p + 88, h->autoclear);
	put_be32(p + 96, h->refcount_order);
	put_be32(p + 100, len);
	p[104] = (uint8_t)h->compression;
	if (h->more)
		memcpy(p + QCOW2_OUR_LEN, h->more, len - QCOW2_OUR_LEN);
	return len;
}

/* The data of a new extension, or NULL when there is no room. */
static uint8_t *put_ext(struct out *o, uint32_t type, uint32_t len)
{
	uint64_t need = EXT_HEAD_LEN + round_up(len, 8);
	uint8_t *p = o->p + o->pos;

	if (need > o->len - o->pos) {
		o->full = true;
		return NULL;
	}
	put_be32(p, type);
	put_be32(p + 4, len);
	o->pos += (uint32_t)need;
	return p + EXT_HEAD_LEN;
}

static void put_text(struct out *o, uint32_t type, const char *text)
{
	size_t len = text ? strlen(text) : 0;
	uint8_t *p = len ? put_ext(o, type, (uint32_t)len) : NULL;

	if (p)
		memcpy(p, text, len);
}

static void put_features(struct out *o)
{
	uint8_t *p;

	if (o->len - o->pos < FEATURES_ROOM)
		return;
	p = put_ext(o, QCOW2_EXT_FEATURES, ARRAY_N(features) * FEATURE_LEN);
	for (size_t i = 0; p && i < ARRAY_N(features); i++) {
		p[0] = features[i].kind;
		p[1] = features[i].bit;
		strcpy((char *)p + 2, features[i].name);
		p += FEATURE_LEN;
	}
}

static void put_bitmaps(struct out *o, const struct qcow2_header *h)
{
	uint8_t *p = put_ext(o, QCOW2_EXT_BITMAPS, 24);

	if (!p)
		return;
	put_be32(p, h->bitmaps.n);
	put_be64(p + 8, h->bitmaps.dir_len);
	put_be64(p + 16, h->bitmaps.dir_host);
}

static void put_crypt(struct out *o, const struct qcow2_header *h)
{
	uint8_t *p = put_ext(o, QCOW2_EXT_ENCRYPTION, 16);

	if (!p)
		return;
	put_be64(p, h->crypt.host);
	put_be64(p + 8, h->crypt.len);
}

static void put_extensions(
    struct out *o, const struct qcow2_header *h, bool with_features)
{
	put_text(o, QCOW2_EXT_BACKING_FORMAT, h->backing_fmt);
	if (h->incompatible & QCOW2_I_DATA_FILE)
		put_text(o, QCOW2_EXT_DATA_FILE, h->data_file);
	if (h->crypt.len)
		put_crypt(o, h);
	if (h->version >= 3 && with_features)
		put_features(o);
	if (h->bitmaps.present)
		put_bitmaps(o, h);
	for (const struct qcow2_ext *k = h->unknown; k; k = k->next) {
		uint8_t *p = put_ext(o, k->type, k->len);

		if (p)
			memcpy(p, k->data, k->len);
	}
	put_ext(o, QCOW2_EXT_END, 0);
}

/* It stays where it was, if it can. */
static void put_backing(struct out *o, const struct qcow2_header *h)
{
	size_t len = strlen(h->backing);

	if (h->backing_host > o->pos && range_ok(h->backing_host, len, o->len))
		o->pos = (uint32_t)h->backing_host;
	if (len > QCOW2_BACKING_MAX || len > o->len - o->pos) {
		o->full = true;
		return;
	}
	put_be64(o->p + 8, o->pos);
	put_be32(o->p + 16, (uint32_t)len);
	memcpy(o->p + o->pos, h->backing, len);
}

static int pack(const struct qcow2_header *h, bool with_features, uint8_t *buf,
    uint32_t cluster_len, struct err *e)
{
	struct out o = {.p = buf, .len = cluster_len, .pos = QCOW2_V2_LEN};

	put_fixed(h, buf);
	if (h->version >= 3)
		o.pos = put_v3(h, buf);
	put_extensions(&o, h, with_features);
	if (h->backing)
		put_backing(&o, h);
	if (!o.full)
		return 0;
	return err_set(e, ERR_USAGE, ENOSPC,
	    "the file names of the image do not fit into a qcow2 header "
	    "of %u bytes",
	    cluster_len);
}

int qcow2_header_pack(const struct qcow2_header *h, uint8_t *buf,
    uint32_t cluster_len, struct err *e)
{
	return pack(h, true, buf, cluster_len, e);
}

int qcow2_header_pack_bare(const struct qcow2_header *h, uint8_t *buf,
    uint32_t cluster_len, struct err *e)
{
	return pack(h, false, buf, cluster_len, e);
}

void qcow2_header_unstage(struct image *img)
{
	struct qcow2 *q = qcow2_of(img);

	rwlock_excl(&img->meta);
	tables_forget(q->tables, 0, STAGED_LEN);
	rwlock_excl_end(&img->meta);
}

int qcow2_header_stage_reftable(struct image *img, struct err *e)
{
	struct qcow2 *q = qcow2_of(img);
	struct table *t = tables_get(q->tables, 0, STAGED_LEN, TABLE_ROOT, e);
	int rc;

	if (!t)
		return -1;
	rc = tables_change(q->tables, t, e);
	if (!rc) {
		put_be64(t->data + REFTABLE_AT, q->h.reftable_host);
		put_be32(t->data + REFTABLE_AT + 8, q->h.reftable_cl);
	}
	tables_put(q->tables, t);
	return rc;
}

uint64_t qcow2_l1_entries(uint64_t size, unsigned cluster_bits, bool extended)
{
	unsigned l2_bits = cluster_bits - (extended ? 4 : 3);

	return div_up(size, 1ull << (cluster_bits + l2_bits));
}

bool qcow2_l1_needed(const struct qcow2 *q, uint64_t size, uint64_t *n)
{
	*n = qcow2_l1_entries(
	    size, q->h.cluster_bits, q->h.incompatible & QCOW2_I_EXTENDED_L2);
	return *n <= QCOW2_L1_LEN_MAX / 8;
}
