/* SPDX-License-Identifier: BSD-3-Clause */
/* Encrypted qcow2 images. */
#ifndef IMGD_QCOW2_CRYPT_H
#define IMGD_QCOW2_CRYPT_H

#include "../crypto/luks.h"
#include "qcow2.h"

/* Read the options `encrypt.*` of opening, and unlock the image where its data
 * is going to be used. */
int qcow2_crypt_open(struct image *img, struct options *o, struct err *e);
/* What `info` shows; NULL where memory is short. */
json_t *qcow2_crypt_describe(const struct qcow2 *q);

/* How a new image is to be encrypted. */
struct qcow2_crypt_params {
	enum qcow2_crypt method;
	struct luks_params luks;
};
/* From `encrypt.*` and `encryption`. */
int qcow2_crypt_params(
    struct options *o, struct qcow2_crypt_params *p, struct err *e);
/* Bytes of its encryption header; 0: none. */
uint64_t qcow2_crypt_len(const struct qcow2_crypt_params *p);
/* Make that header in whole clusters. */
int qcow2_crypt_create(struct hostfile *f, const char *name, uint64_t host,
    uint32_t cluster_len, const struct qcow2_crypt_params *p, struct err *e);

/* Options of amend: `encrypt.*`; nothing where there are none. */
int qcow2_crypt_amend(struct image *img, struct options *o, struct err *e);

#endif
