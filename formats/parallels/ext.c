/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The format extension: a cluster of features, of which dirty bitmaps are the
 * only one.  It is read from images that are not written.
 *
 *   magic, MD5 of the rest | feature | feature | ... | all zeroes
 */
#include <errno.h>
#include <stdio.h>

#include "../crypto/hash.h"
#include "parallels.h"

#define EXT_MAGIC      0xab234cef23dcea87ull
#define EXT_HEAD_LEN   24u
#define FEATURE_LEN    24u /* before its data */
#define FEATURE_BITMAP 0x20385fae252cb34aull
#define FLAG_NECESSARY 1u	  /* who cannot keep it must not write */
#define BITMAP_LEN     32u	  /* before the L1 table */
#define CLUSTER_MAX    (16 * MiB) /* of an image with one: it is held whole */

struct feature {
	uint64_t magic, flags;
	const uint8_t *data;
	uint32_t len;
};

/* A bitmap's L1 table: 0 all clean, 1 all dirty, else a place in sectors. */
struct stored {
	uint32_t n;
	uint64_t l1[];
};

static int bad(struct image *img, const char *what, struct err *e)
{
	return err_damaged(e, "%s: format extension at %llu: %s", img->name,
	    (unsigned long long)parallels_of(img)->h.ext_host, what);
}

/* The whole cluster, checked; malloc'd, NULL on failure. */
static uint8_t *read_ext(struct image *img, struct err *e)
{
	const struct parallels_header *h = &parallels_of(img)->h;
	CLEANUP_FREE uint8_t *buf = NULL;
	uint8_t sum[HASH_LEN_MAX];
	int md5 = hash_need("md5", e);

	if (!md5)
		return NULL;
	if (!range_ok(h->ext_host, h->cluster_len, host_size(img->file))) {
		bad(img, "past the end of the file", e);
		return NULL;
	}
	if (h->cluster_len > CLUSTER_MAX) {
		err_unsupported(e,
		    "%s: format extension of %u bytes: at most %llu are read",
		    img->name, h->cluster_len, CLUSTER_MAX);
		return NULL;
	}
	buf = malloc(h->cluster_len);
	if (!buf) {
		err_nomem(e);
		return NULL;
	}
	if (host_pread(img->file, buf, h->cluster_len, h->ext_host, e))
		return NULL;
	hash_bytes(md5, buf + EXT_HEAD_LEN, h->cluster_len - EXT_HEAD_LEN, sum);
	if (le64(buf) == EXT_MAGIC && !memcmp(sum, buf + 8, hash_len(md5)))
		return take(buf);
	bad(img, "wrong magic number or checksum", e);
	return NULL;
}

/* The feature at *pos, which moves on: 1, 0 the end, -1 damaged. */
static int next_feature(struct image *img, const uint8_t *buf, uint64_t *pos,
    struct feature *x, struct err *e)
{
	uint64_t end = parallels_of(img)->h.cluster_len, at = *pos;

	if (end - at < FEATURE_LEN)
		return bad(img, "it has no end", e);
	*x = (struct feature){.magic = le64(buf + at),
	    .flags = le64(buf + at + 8),
	    .len = le32(buf + at + 16),
	    .data = buf + at + FEATURE_LEN};
	if (!x->magic)
		return 0;
	at += FEATURE_LEN;
	if (round_up((uint64_t)x->len, 8) > end - at)
		return bad(img, "a feature is too long", e);
	*pos = at + round_up((uint64_t)x->len, 8);
	return 1;
}

typedef int feature_fn(
    struct image *img, const struct feature *x, void *arg, struct err *e);

static int each_feature(
    struct image *img, feature_fn *fn, void *arg, struct err *e)
{
	CLEANUP_FREE uint8_t *buf = NULL;
	uint64_t pos = EXT_HEAD_LEN;
	struct feature x;
	int rc;

	if (!parallels_of(img)->h.ext_host)
		return 0;
	buf = read_ext(img, e);
	if (!buf)
		return -1;
	while ((rc = next_feature(img, buf, &pos, &x, e)) > 0)
		if (fn(img, &x, arg, e))
			return -1;
	return rc;
}

/* ---- giving it up -------------------------------------------------------- */

static int find_necessary(
    struct image *img, const struct feature *x, void *arg, struct err *e)
{
	(void)e, (void)img;
	*(bool *)arg |= x->flags & FLAG_NECESSARY;
	return 0;
}

int parallels_ext_droppable(struct image *img, struct err *e)
{
	struct err damaged = ERR_INIT; /* then it is to be dropped */
	bool necessary = false;

	if (each_feature(img, find_necessary, &necessary, &damaged) &&
	    damaged.kind != ERR_DAMAGED) {
		*e = damaged;
		return -1;
	}
	if (!necessary)
		return 0;
	return err_unsupported(e,
	    "%s: the format extension has a feature that every writer must "
	    "keep, which is not supported",
	    img->name);
}

/* ---- dirty bitmaps ------------------------------------------------------- */

static int check_bitmap(
    struct image *img, const struct feature *x, struct err *e)
{
	const struct parallels_header *h = &parallels_of(img)->h;
	uint64_t bits, l1_n;
	uint32_t granularity;

	if (x->len < BITMAP_LEN)
		return bad(img, "a bitmap is too short", e);
	granularity = le32(x->data + 24);
	if (le64(x->data) != h->size / SECTOR_LEN || !is_pow2(granularity) ||
	    granularity > UINT32_MAX / SECTOR_LEN)
		return bad(img, "a bitmap has a wrong size or granularity", e);
	bits = div_up(h->size, (uint64_t)granularity * SECTOR_LEN);
	l1_n = div_up(div_up(bits, 8), h->cluster_len);
	if (le32(x->data + 28) != l1_n || x->len - BITMAP_LEN < 8 * l1_n)
		return bad(img, "a bitmap has a wrong table", e);
	return 0;
}

/* Named by its ID, as a UUID is written. */
static void bitmap_name(const uint8_t *id, char name[40])
{
	char *p = name;

	for (unsigned i = 0; i < 16; i++) {
		if (i == 4 || i == 6 || i == 8 || i == 10)
			*p++ = '-';
		p += sprintf(p, "%02x", id[i]);
	}
}

static int add_bitmap(
    struct image *img, const struct feature *x, void *arg, struct err *e)
{
	struct stored *s;
	struct bitmap *b;
	char name[40];

	(void)arg;
	if (x->magic != FEATURE_BITMAP)
		return 0;
	if (check_bitmap(img, x, e))
		return -1;
	bitmap_name(x->data + 8, name);
	b = bitmaps_append(
	    &img->bitmaps, name, log2_u64(le32(x->data + 24)) + 9, e);
	if (!b)
		return -1;
	b->inconsistent = parallels_of(img)->h.in_use;
	s = malloc(sizeof *s + 8ull * le32(x->data + 28));
	if (!s)
		return err_nomem(e);
	s->n = le32(x->data + 28);
	for (uint32_t i = 0; i < s->n; i++)
		s->l1[i] = le64(x->data + BITMAP_LEN + 8ull * i);
	b->stored = s;
	return 0;
}

static bool supported(const struct image *img)
{
	(void)img;
	return false;
}

static int list(struct image *img, struct err *e)
{
	return each_feature(img, add_bitmap, NULL, e);
}

/* One cluster of the bits. */
static int load_cluster(struct image *img, struct dirtymap *bits, uint64_t l1,
    uint64_t pos, uint8_t *buf, struct err *e)
{
	uint64_t n = min_u64(
	    parallels_of(img)->h.cluster_len, dirtymap_bytes_n(bits) - pos);

	if (l1 == 0)
		return 0;
	if (l1 == 1)
		return dirtymap_add_ones(bits, pos, n, e);
	if (l1 > host_size(img->file) / SECTOR_LEN ||
	    !range_ok(l1 * SECTOR_LEN, n, host_size(img->file)))
		return bad(img, "a bitmap lies past the end of the file", e);
	if (host_pread(img->file, buf, n, l1 * SECTOR_LEN, e))
		return -1;
	return dirtymap_add(bits, buf, n, pos, e);
}

static int load(struct image *img, struct bitmap *b, struct err *e)
{
	uint32_t cluster_len = parallels_of(img)->h.cluster_len;
	CLEANUP_FREE uint8_t *buf = malloc(cluster_len);
	const struct stored *s = b->stored;
	struct dirtymap *bits;

	if (!buf)
		return err_nomem(e);
	bits = dirtymap_new(img_size(img), b->granularity_bits, e);
	if (!bits)
		return -1;
	for (uint32_t i = 0; i < s->n; i++) {
		if (!load_cluster(
			img, bits, s->l1[i], (uint64_t)i * cluster_len, buf, e))
			continue;
		dirtymap_free(bits);
		return -1;
	}
	b->bits = bits;
	return 0;
}

static int refuse(struct err *e)
{
	return err_set(e, ERR_UNSUPPORTED, ENOTSUP,
	    "Dirty bitmaps of Parallels images can only be read");
}

static int may_add(struct image *img, const char *name,
    unsigned granularity_bits, struct err *e)
{
	(void)img, (void)name, (void)granularity_bits;
	return refuse(e);
}

/* A writable image has none: it has dropped them. */
static int may_resize(struct image *img, uint64_t size, struct err *e)
{
	(void)img, (void)size, (void)e;
	return 0;
}

static int mark(struct image *img, struct err *e)
{
	(void)img;
	return refuse(e);
}

static int store(struct image *img, struct err *e)
{
	return img->bitmaps.n ? refuse(e) : 0;
}

const struct bitmap_ops parallels_bitmap_ops = {
    .supported = supported,
    .list = list,
    .load = load,
    .may_add = may_add,
    .may_resize = may_resize,
    .mark = mark,
    .store = store,
};

/* ---- owners of space ----------------------------------------------------- */

struct owner {
	int (*fn)(struct image *img, void *arg, uint64_t host, struct err *e);
	void *arg;
};

static int bitmap_clusters(
    struct image *img, const struct feature *x, void *arg, struct err *e)
{
	const struct owner *o = arg;

	if (x->magic != FEATURE_BITMAP || check_bitmap(img, x, e))
		return err_is_set(e) ? -1 : 0;
	for (uint32_t i = 0; i < le32(x->data + 28); i++) {
		uint64_t l1 = le64(x->data + BITMAP_LEN + 8ull * i);

		if (l1 > 1 && l1 < host_size(img->file) / SECTOR_LEN &&
		    o->fn(img, o->arg, l1 * SECTOR_LEN, e))
			return -1;
	}
	return 0;
}

/* Of an extension that cannot be read only its own cluster. */
static int each_cluster(struct image *img, struct owner *o, struct err *e)
{
	const struct parallels_header *h = &parallels_of(img)->h;
	struct err damaged = ERR_INIT;

	if (!h->ext_host)
		return 0;
	if (o->fn(img, o->arg, h->ext_host, e))
		return -1;
	if (!each_feature(img, bitmap_clusters, o, &damaged) ||
	    damaged.kind == ERR_DAMAGED)
		return 0;
	*e = damaged;
	return -1;
}

static int claim(struct image *img, void *arg, uint64_t host, struct err *e)
{
	(void)arg;
	return space_claim(
		   &flat_of(img)->space, host, flat_of(img)->space_len, e) < 0
		   ? -1
		   : 0;
}

int parallels_ext_claim(struct flat *f, struct err *e)
{
	struct owner o = {.fn = claim};

	return each_cluster(f->img, &o, e);
}

static int report(struct image *img, void *arg, uint64_t host, struct err *e)
{
	const struct walk_extent x = {.host = host,
	    .len = flat_of(img)->space_len,
	    .kind = META_BITMAP,
	    .owner = "format extension",
	    .guest = UINT64_MAX};
	struct walker *w = arg;

	return w->extent(w, &x, e);
}

int parallels_ext_walk(struct image *img, struct walker *w, struct err *e)
{
	struct owner o = {.fn = report, .arg = w};

	return each_cluster(img, &o, e);
}
