/* SPDX-License-Identifier: BSD-3-Clause */
/* QCOW as a driver: see qcow.h. */
#include <errno.h>
#include <stdlib.h>

#include "../codec/codec.h"
#include "../core/open.h"
#include "qcow.h"

#define ENTRY_PACKED (1ull << 63)

static bool probe(const struct probe_in *p)
{
	return p->head_len >= QCOW_HEADER_LEN && be32(p->head) == QCOW_MAGIC &&
	       be32(p->head + 4) == QCOW_VERSION;
}

/* ---- entries ---------------------------------------------------------------
 */

/* A packed one has its offset, and above that its length, in one number. */
static unsigned host_bits(const struct image *img)
{
	return 63u - qcow_of(img)->h.cluster_bits;
}

static void decode(
    const struct image *img, uint64_t entry, struct twolevel_entry *n)
{
	*n = (struct twolevel_entry){.kind = EXT_HOLE, .host = entry};
	if (entry & ENTRY_PACKED) {
		n->kind = EXT_PACKED;
		n->host = entry & ((1ull << host_bits(img)) - 1);
		n->stored =
		    (uint32_t)((entry & ~ENTRY_PACKED) >> host_bits(img));
	} else if (entry) {
		n->kind = EXT_DATA;
	}
}

static uint64_t encode(const struct image *img, const struct twolevel_entry *n)
{
	if (n->kind == EXT_PACKED)
		return ENTRY_PACKED | (uint64_t)n->stored << host_bits(img) |
		       n->host;
	return n->host;
}

/* ---- open, close -----------------------------------------------------------
 */

static int take_backing(
    struct image *img, const struct qcow_header *h, struct err *e)
{
	if (!h->backing)
		return 0;
	img->backing_name = strdup(h->backing);
	return img->backing_name ? 0 : err_nomem(e);
}

static void set_geometry(struct qcow *q)
{
	const struct qcow_header *h = &q->h;

	q->t = (struct twolevel){
	    .dir_host = h->l1_host,
	    .dir_n = qcow_l1_n(h, h->size),
	    .table_n = 1ull << h->l2_bits,
	    .table_align = 1,
	    .cluster_len = 1u << h->cluster_bits,
	    .head_len = QCOW_HEADER_LEN,
	    .name_host = h->backing_host,
	    .name_len = h->backing_len,
	    .big_endian = true,
	    .decode = decode,
	    .encode = encode,
	};
}

static void close_image(struct image *img)
{
	struct qcow *q = qcow_of(img);

	twolevel_close(img);
	qcow_header_clear(&q->h);
	free(q);
	img->priv = NULL;
}

static int open_image(struct image *img, struct options *o, struct err *e)
{
	struct qcow *q = calloc(1, sizeof *q);

	if (!q)
		return err_nomem(e);
	if (qcow_header_read(img->file, &q->h, e)) {
		free(q);
		return -1;
	}
	img->priv = q;
	img->codec = CODEC_DEFLATE;
	set_geometry(q);
	atomic_store(&img->size, q->h.size);
	if (twolevel_open(img, e) || qcow_crypt_open(img, o, e) ||
	    take_backing(img, &q->h, e)) {
		close_image(img);
		return -1;
	}
	return 0;
}

static int start(struct image *img, struct err *e)
{
	if (!image_writable(img) || (img->flags & IMG_O_CHECK))
		return 0;
	return twolevel_start(img, e);
}

static int describe(struct image *img, struct img_info *out, struct err *e)
{
	const struct qcow *q = qcow_of(img);

	(void)e;
	out->cluster_size = q->t.cluster_len;
	out->dirty = 0;
	out->encrypted = q->h.crypt != 0;
	return 0;
}

const struct driver qcow_driver = {
    .info =
	{
	    .name = "qcow",
	    .can_create = true,
	    .can_backing = true,
	    .can_pack = true,
	    .can_check = true,
	    .can_resize = true,
	    .can_measure = true,
	    .create_opts = qcow_create_opts,
	},
    .probe = probe,
    .open = open_image,
    .start = start,
    .close = close_image,
    .map = twolevel_map,
    .reserve = twolevel_reserve,
    .publish = twolevel_publish,
    .abandon = twolevel_abandon,
    .unmap = twolevel_unmap,
    .release = twolevel_release,
    .commit = twolevel_commit,
    .create = qcow_create,
    .create_check = qcow_create_check,
    .resize = qcow_resize,
    .check = twolevel_check,
    .repair = twolevel_repair,
    .measure = qcow_measure,
    .describe = describe,
    .make_empty = twolevel_empty,
    .set_backing = qcow_set_backing,
};
