/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * QCOW, version 1: a header, a directory ("L1 table") and tables ("L2 tables")
 * of clusters, some of them compressed.
 *
 * There is no published specification; the names are those of its successor,
 * the layout is what QEMU writes and reads.  All numbers are big-endian.
 */
#ifndef IMGD_QCOW_H
#define IMGD_QCOW_H

#include "../core/twolevel.h"

#define QCOW_MAGIC	 0x514649fbu /* "QFI\xfb" */
#define QCOW_VERSION	 1u
#define QCOW_HEADER_LEN	 48u
#define QCOW_BACKING_MAX 1023u

struct qcow_header {
	uint64_t backing_host;
	uint32_t backing_len;
	uint64_t size; /* bytes */
	uint8_t cluster_bits, l2_bits;
	uint32_t crypt; /* 0 none, 1 AES */
	uint64_t l1_host;
	char *backing; /* malloc'd, or NULL */
};

struct qcow {
	struct twolevel t; /* first */
	struct qcow_header h;
};

static inline struct qcow *qcow_of(const struct image *img)
{
	return img->priv;
}

/* L1 entries that a disk of that size needs. */
uint64_t qcow_l1_n(const struct qcow_header *h, uint64_t size);
/* Are they too many? */
int qcow_l1_check(const struct qcow_header *h, uint64_t size, const char *name,
    struct err *e);
/* *h is the caller's; qcow_header_clear() frees what it holds. */
int qcow_header_read(struct hostfile *f, struct qcow_header *h, struct err *e);
void qcow_header_clear(struct qcow_header *h);
/* Does a name of that length fit behind it, in its sector? */
bool qcow_header_has_room(const struct qcow_header *h, size_t name_len);
/* With such a name if it is there: one sector.  Not synced. */
int qcow_header_write(
    struct hostfile *f, const struct qcow_header *h, struct err *e);

/* The cipher of an encrypted image, with the key that the options name. */
int qcow_crypt_open(struct image *img, struct options *o, struct err *e);
/* Is an image to be encrypted?  *method as in the header. */
int qcow_crypt_params(struct options *o, uint32_t *method, struct err *e);

extern const struct img_opt qcow_create_opts[];
int qcow_create(const struct create_args *a, struct err *e);
int qcow_measure(struct options *o, uint64_t size, struct image *src,
    struct img_measure *out, struct err *e);
int qcow_create_check(const struct create_args *a, struct err *e);

int qcow_resize(struct image *img, uint64_t size, enum img_prealloc prealloc,
    struct err *e);
int qcow_set_backing(struct image *img, const char *name, const char *format,
    bool trial, struct err *e);

#endif
