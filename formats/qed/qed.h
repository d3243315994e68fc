/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * QED: a header, a directory ("L1 table") and tables ("L2 tables") of the same
 * length.
 *
 * Specification: "QED Image File Format" of the QEMU project
 * (docs/interop/qed_spec).  All numbers are little-endian.
 *
 * Invariant: while metadata of the file may be incomplete, the header has
 * QED_F_NEED_CHECK; it is durable before the first change, and goes when the
 * image is closed.
 */
#ifndef IMGD_QED_H
#define IMGD_QED_H

#include "../core/twolevel.h"

#define QED_MAGIC	   0x00444551u /* "QED\0" */
#define QED_F_BACKING	   0x01ull
#define QED_F_NEED_CHECK   0x02ull
#define QED_F_BACKING_RAW  0x04ull /* the backing file is not probed */
#define QED_F_ALL	   0x07ull
#define QED_CLUSTER_MIN	   4096u
#define QED_CLUSTER_MAX	   (64u << 20)
#define QED_CLUSTER_USUAL  65536u
#define QED_TABLE_CL_MAX   16u
#define QED_TABLE_CL_USUAL 4u
#define QED_HEADER_LEN	   64u
#define QED_HEADER_CL_MAX  1024u
#define QED_BACKING_MAX	   1023u

struct qed_header {
	uint32_t cluster_len; /* bytes */
	uint32_t table_cl;    /* clusters of a table */
	uint32_t header_cl;   /* clusters of the header */
	uint64_t features, compatible, autoclear;
	uint64_t l1_host, size; /* bytes */
	char *backing;		/* malloc'd, or NULL */
	uint32_t name_host;	/* of its name, in the header; 0: none */
};

struct qed {
	struct twolevel t; /* first */
	struct qed_header h;
};

static inline struct qed *qed_of(const struct image *img)
{
	return img->priv;
}

/* Entries of a table. */
static inline uint64_t qed_table_n(const struct qed_header *h)
{
	return (uint64_t)h->table_cl * h->cluster_len / 8;
}
/* The largest disk, bytes: what the tables can map, INT64_MAX at most. */
uint64_t qed_size_max(const struct qed_header *h);
/* *h is the caller's; qed_header_clear() frees what it holds. */
int qed_header_read(struct hostfile *f, struct qed_header *h, struct err *e);
void qed_header_clear(struct qed_header *h);
/* All but the name of the backing file, in one sector.  Not synced. */
int qed_header_write(
    struct hostfile *f, const struct qed_header *h, struct err *e);
/* Store another name, or none (NULL), which the header has from when it is
 * written: until then, and after a crash, it has the old one. */
int qed_header_rename(
    struct hostfile *f, struct qed_header *h, const char *name, struct err *e);

extern const struct img_opt qed_create_opts[];
int qed_create(const struct create_args *a, struct err *e);
int qed_measure(struct options *o, uint64_t size, struct image *src,
    struct img_measure *out, struct err *e);
int qed_create_check(const struct create_args *a, struct err *e);

#endif
