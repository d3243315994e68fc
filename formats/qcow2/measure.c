/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * How many host bytes a qcow2 image will take, without making it.
 *
 * Metadata is counted for a disk that is written in full, whatever the source
 * holds, so the figure is never too low.
 */
#include "../core/measure.h"
#include "params.h"

/* Bytes of a full image. The disk is whole clusters here. */
static uint64_t full_len(const struct qcow2_params *p, uint64_t disk_len)
{
	uint64_t cluster_len = 1ull << p->cluster_bits;
	uint64_t l2_cl = p->l1_n; /* each L2 table is one cluster */
	uint64_t l1_cl = div_up(l2_cl * 8, cluster_len);
	uint64_t crypt_cl = div_up(qcow2_crypt_len(&p->crypt), cluster_len);
	uint64_t used = 1 + l1_cl + l2_cl + crypt_cl + disk_len / cluster_len;
	uint64_t table, blocks;

	qcow2_refcount_space(p, used, &table, &blocks);
	return (used + table + blocks) * cluster_len;
}

/* Can the source have persistent bitmaps that go along? */
static bool has_bitmaps(const struct qcow2_params *p, const struct image *src)
{
	return p->version >= 3 && src && src->drv == &qcow2_driver &&
	       qcow2_of(src)->h.version >= 3;
}

/* Bitmaps of the source, as they would be stored with all their data; also the
 * inconsistent ones, which may be gone by then. */
static int bitmaps_len(struct image *src, const struct qcow2_params *p,
    int64_t *out, struct err *e)
{
	uint64_t cluster_len = 1ull << p->cluster_bits;
	uint64_t len = 0, dir_len = 0;
	struct qcow2_bitmap_list list;

	if (qcow2_bitmaps_read(src, &list, e))
		return -1;
	for (size_t i = 0; i < list.n; i++) {
		const struct qcow2_bitmap *b = &list.item[i];
		uint64_t bits =
		    div_up(img_size(src), 1ull << b->granularity_bits);
		uint64_t data_cl = div_up(div_up(bits, 8), cluster_len);

		len +=
		    (data_cl + div_up(data_cl * 8, cluster_len)) * cluster_len;
		dir_len += round_up(QCOW2_BITMAP_LEN + strlen(b->name), 8);
	}
	qcow2_bitmaps_clear(&list);
	*out = (int64_t)(len + round_up(dir_len, cluster_len));
	return 0;
}

int qcow2_measure(struct options *o, uint64_t size, struct image *src,
    struct img_measure *out, struct err *e)
{
	bool backing = options_get(o, "backing_file");
	struct qcow2_params p;
	uint64_t disk_len, used = 0;

	if (qcow2_params_read(o, size, backing, &p, e))
		return -1;
	disk_len = round_up(size, 1ull << p.cluster_bits);
	if (p.prealloc == IMG_PREALLOC_FALLOC ||
	    p.prealloc == IMG_PREALLOC_FULL || (backing && src))
		used = disk_len;
	else if (src && measure_data(src, 1u << p.cluster_bits, &used, e))
		return -1;
	out->fully_allocated = full_len(&p, disk_len);
	out->required = out->fully_allocated - disk_len + used;
	out->bitmaps = -1;
	return has_bitmaps(&p, src) ? bitmaps_len(src, &p, &out->bitmaps, e)
				    : 0;
}
