/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The bits of a persistent bitmap: a table whose entries are clusters of bits,
 * or say that those are all clean (0) or all dirty (1).
 *
 * Written, they are never changed: newer bits go to new space.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#include "qcow2.h"

#define ALL_DIRTY 1u
#define PIECE_LEN (1u * MiB) /* of clusters that are written in one go */

uint64_t *qcow2_bitmap_table(
    struct image *img, uint64_t host, uint32_t n, struct err *e)
{
	const struct qcow2 *q = qcow2_of(img);
	CLEANUP_FREE uint64_t *table = calloc(n + 1ull, sizeof *table);

	if (!table) {
		err_nomem(e);
		return NULL;
	}
	if (n && host_pread(img->file, table, 8ull * n, host, e))
		return NULL;
	for (uint32_t i = 0; i < n; i++) {
		table[i] = be64((const uint8_t *)&table[i]);
		if (table[i] <= ALL_DIRTY)
			continue;
		if (!(table[i] & ~QCOW2_HOST_MASK) &&
		    qcow2_cluster_ok(q, table[i], q->cluster_len))
			continue;
		qcow2_bad_entry(img,
		    &(struct qcow2_bad){"bitmap table", host, i, table[i]},
		    "is neither 0, 1 nor a cluster of the file", e);
		return NULL;
	}
	return take(table);
}

static int add_cluster(struct image *img, uint64_t entry, uint64_t pos,
    struct dirtymap *bits, uint8_t *buf, struct err *e)
{
	uint32_t len = qcow2_of(img)->cluster_len;

	if (!entry)
		return 0;
	if (entry == ALL_DIRTY)
		return dirtymap_add_ones(bits, pos, len, e);
	if (host_pread(img->file, buf, len, entry, e))
		return -1;
	return dirtymap_add(bits, buf, len, pos, e);
}

static int add_clusters(struct image *img, const uint64_t *table, uint32_t n,
    struct dirtymap *bits, struct err *e)
{
	uint32_t cluster_len = qcow2_of(img)->cluster_len;
	CLEANUP_FREE uint8_t *buf = malloc(cluster_len);

	if (!buf)
		return err_nomem(e);
	for (uint32_t i = 0; i < n; i++)
		if (add_cluster(
			img, table[i], (uint64_t)i * cluster_len, bits, buf, e))
			return -1;
	return 0;
}

int qcow2_bitmap_read(struct image *img, uint64_t host, uint32_t n,
    struct dirtymap *bits, struct err *e)
{
	uint32_t cluster_len = qcow2_of(img)->cluster_len;
	uint64_t want_n = div_up(dirtymap_bytes_n(bits), cluster_len);
	CLEANUP_FREE uint64_t *table = NULL;

	if (n != want_n)
		return err_set(e, ERR_DAMAGED, EIO,
		    "its table has %" PRIu32 " entries: a disk of %" PRIu64
		    " bytes must have %" PRIu64,
		    n, bits->size, want_n);
	table = qcow2_bitmap_table(img, host, n, e);
	return table ? add_clusters(img, table, n, bits, e) : -1;
}

/* ---- writing ------------------------------------------------------------- */

/* Clusters of bits that are gathered, and where they go. */
struct piece {
	uint8_t *buf;
	size_t len, max;
	uint64_t host;
};

static int piece_flush(struct image *img, struct piece *p, struct err *e)
{
	size_t len = p->len;

	p->len = 0;
	if (len && host_pwrite(img->file, p->buf, len, p->host, e))
		return -1;
	p->host += len;
	return 0;
}

/* The table, as in the file; the clusters that it needs are at `host`. */
static int write_clusters(struct image *img, const struct dirtymap *bits,
    struct piece *p, uint8_t *table, uint32_t n, struct err *e)
{
	uint32_t cluster_len = qcow2_of(img)->cluster_len;

	for (uint32_t i = 0; i < n; i++) {
		uint64_t pos = (uint64_t)i * cluster_len;
		uint64_t entry = 0;

		switch (dirtymap_kind(bits, pos, cluster_len)) {
		case DIRTYMAP_CLEAN:
			break;
		case DIRTYMAP_DIRTY:
			entry = ALL_DIRTY;
			break;
		case DIRTYMAP_MIXED:
			entry = p->host + p->len;
			dirtymap_get(bits, p->buf + p->len, cluster_len, pos);
			p->len += cluster_len;
			break;
		}
		put_be64(table + 8ull * i, entry);
		if (p->len == p->max && piece_flush(img, p, e))
			return -1;
	}
	return piece_flush(img, p, e);
}

static uint64_t mixed_clusters(
    const struct dirtymap *bits, uint32_t cluster_len, uint32_t n)
{
	uint64_t mixed = 0;

	for (uint32_t i = 0; i < n; i++)
		mixed += dirtymap_kind(bits, (uint64_t)i * cluster_len,
			     cluster_len) == DIRTYMAP_MIXED;
	return mixed;
}

static int write_bits(struct image *img, const struct dirtymap *bits,
    struct piece *p, uint8_t *table, uint32_t n, struct err *e)
{
	uint32_t cluster_len = qcow2_of(img)->cluster_len;
	uint64_t mixed = mixed_clusters(bits, cluster_len, n);

	if (mixed && qcow2_space_take(img, mixed * cluster_len, &p->host, e))
		return -1;
	return write_clusters(img, bits, p, table, n, e);
}

int qcow2_bitmap_write(struct image *img, const struct dirtymap *bits,
    uint64_t *host, uint32_t *n, struct err *e)
{
	uint32_t cluster_len = qcow2_of(img)->cluster_len;
	uint32_t cl_n = (uint32_t)div_up(dirtymap_bytes_n(bits), cluster_len);
	struct piece p = {.max = max_u64(PIECE_LEN, cluster_len)};
	CLEANUP_FREE uint8_t *buf = malloc(p.max);
	CLEANUP_FREE uint8_t *table = malloc(8ull * cl_n);

	if (!buf || !table)
		return err_nomem(e);
	p.buf = buf;
	if (write_bits(img, bits, &p, table, cl_n, e))
		return -1;
	*n = cl_n;
	return qcow2_space_write(img, table, 8ull * cl_n, host, e);
}
