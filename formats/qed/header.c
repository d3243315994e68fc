/* SPDX-License-Identifier: BSD-3-Clause */
/* The header of a QED image: see qed.h. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#include "qed.h"

uint64_t qed_size_max(const struct qed_header *h)
{
	uint64_t n = qed_table_n(h), clusters, len;

	if (!mul_ok(n, n, &clusters) || !mul_ok(clusters, h->cluster_len, &len))
		return INT64_MAX;
	return min_u64(len, INT64_MAX);
}

static int check_geometry(
    struct hostfile *f, const struct qed_header *h, struct err *e)
{
	if (!is_pow2(h->cluster_len) || h->cluster_len < QED_CLUSTER_MIN ||
	    h->cluster_len > QED_CLUSTER_MAX)
		return err_damaged(e,
		    "%s: QED cluster size %" PRIu32
		    ": allowed are powers of two from %u to %u",
		    f->name, h->cluster_len, QED_CLUSTER_MIN, QED_CLUSTER_MAX);
	if (!is_pow2(h->table_cl) || h->table_cl > QED_TABLE_CL_MAX)
		return err_damaged(e,
		    "%s: QED table size of %" PRIu32
		    " clusters: allowed are powers of two from 1 to %u",
		    f->name, h->table_cl, QED_TABLE_CL_MAX);
	if (!h->header_cl || h->header_cl > QED_HEADER_CL_MAX ||
	    h->header_cl > host_size(f) / h->cluster_len + 1)
		return err_damaged(e,
		    "%s: QED header size of %" PRIu32
		    " clusters: allowed are 1 to %u, in the file of %" PRIu64
		    " bytes",
		    f->name, h->header_cl, QED_HEADER_CL_MAX, host_size(f));
	if (!is_aligned(h->size, SECTOR_LEN) || h->size > qed_size_max(h))
		return err_damaged(e,
		    "%s: QED disk size %" PRIu64
		    ": allowed are multiples of 512 up to %" PRIu64,
		    f->name, h->size, qed_size_max(h));
	return 0;
}

static int check_l1(
    struct hostfile *f, const struct qed_header *h, struct err *e)
{
	uint64_t len = (uint64_t)h->table_cl * h->cluster_len;

	if (is_aligned(h->l1_host, h->cluster_len) &&
	    h->l1_host >= (uint64_t)h->header_cl * h->cluster_len &&
	    range_ok(h->l1_host, len, round_up(host_size(f), h->cluster_len)))
		return 0;
	return err_damaged(e,
	    "%s: QED L1 table of %" PRIu64 " bytes at %#" PRIx64
	    " is no place in a file of %" PRIu64 " bytes",
	    f->name, len, h->l1_host, host_size(f));
}

static int read_backing(
    struct hostfile *f, const uint8_t *p, struct qed_header *h, struct err *e)
{
	uint32_t off = le32(p + 56), len = le32(p + 60);
	uint64_t room = (uint64_t)h->header_cl * h->cluster_len;

	if (!(h->features & QED_F_BACKING) || !len)
		return 0;
	if (len > QED_BACKING_MAX || !range_ok(off, len, room))
		return err_damaged(e,
		    "%s: QED backing file name of %" PRIu32 " bytes at %" PRIu32
		    ": allowed are %u bytes inside the header of %" PRIu64,
		    f->name, len, off, QED_BACKING_MAX, room);
	h->backing = calloc(1, len + 1ul);
	if (!h->backing)
		return err_nomem(e);
	h->name_host = off;
	return host_pread(f, h->backing, len, off, e);
}

static void unpack(const uint8_t *p, struct qed_header *h)
{
	*h = (struct qed_header){
	    .cluster_len = le32(p + 4),
	    .table_cl = le32(p + 8),
	    .header_cl = le32(p + 12),
	    .features = le64(p + 16),
	    .compatible = le64(p + 24),
	    .autoclear = le64(p + 32),
	    .l1_host = le64(p + 40),
	    .size = le64(p + 48),
	};
}

int qed_header_read(struct hostfile *f, struct qed_header *h, struct err *e)
{
	uint8_t p[QED_HEADER_LEN];

	if (host_pread(f, p, sizeof p, 0, e))
		return -1;
	if (le32(p) != QED_MAGIC)
		return err_set(
		    e, ERR_NOT_FORMAT, EINVAL, "Image not in QED format");
	unpack(p, h);
	if (h->features & ~QED_F_ALL)
		return err_unsupported(e, "Unsupported QED features: %llx",
		    h->features & ~QED_F_ALL);
	if (check_geometry(f, h, e) || check_l1(f, h, e) ||
	    read_backing(f, p, h, e)) {
		qed_header_clear(h);
		return -1;
	}
	return 0;
}

void qed_header_clear(struct qed_header *h)
{
	free(h->backing);
	h->backing = NULL;
}

int qed_header_write(
    struct hostfile *f, const struct qed_header *h, struct err *e)
{
	uint8_t p[QED_HEADER_LEN] = {0};

	put_le32(p, QED_MAGIC);
	put_le32(p + 4, h->cluster_len);
	put_le32(p + 8, h->table_cl);
	put_le32(p + 12, h->header_cl);
	put_le64(p + 16, h->features);
	put_le64(p + 24, h->compatible);
	put_le64(p + 32, h->autoclear);
	put_le64(p + 40, h->l1_host);
	put_le64(p + 48, h->size);
	put_le32(p + 56, h->name_host);
	put_le32(p + 60, h->backing ? (uint32_t)strlen(h->backing) : 0);
	return host_pwrite(f, p, sizeof p, 0, e);
}

/* The first of three places in the smallest header that the old name leaves. */
static uint32_t free_place(const struct qed_header *h, uint32_t len)
{
	uint64_t old = h->name_host;
	uint64_t old_end = old + (h->backing ? strlen(h->backing) : 0);
	uint32_t host = QED_HEADER_LEN;

	while (host < old_end && old < host + len)
		host += QED_BACKING_MAX;
	return host;
}

int qed_header_rename(
    struct hostfile *f, struct qed_header *h, const char *name, struct err *e)
{
	uint32_t len = name ? (uint32_t)strlen(name) : 0;
	uint32_t host = len ? free_place(h, len) : 0;
	char *copy = name ? strdup(name) : NULL;

	if (name && !copy)
		return err_nomem(e);
	if (len && (host_pwrite(f, name, len, host, e) || host_sync(f, e))) {
		free(copy);
		return -1;
	}
	free(h->backing);
	h->backing = copy;
	h->name_host = host;
	return 0;
}
