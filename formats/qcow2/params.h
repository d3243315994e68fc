/* SPDX-License-Identifier: BSD-3-Clause */
/* The options of a new image, read and checked: for create and measure. */
#ifndef IMGD_QCOW2_PARAMS_H
#define IMGD_QCOW2_PARAMS_H

#include "crypt.h"

struct qcow2_params {
	unsigned version, cluster_bits, refcount_order;
	unsigned compression; /* as in the header */
	bool extended, lazy, data_raw;
	enum img_prealloc prealloc;
	const char *data_file; /* NULL: none; belongs to the options */
	struct qcow2_crypt_params crypt;
	uint64_t size, l1_n;
};

int qcow2_params_read(struct options *o, uint64_t size, bool has_backing,
    struct qcow2_params *p, struct err *e);
/* 2 or 3; 0: no compatibility level is called so. */
unsigned qcow2_version_of(const char *compat);
/* The width of counts that `o` asks for; else *order stays. */
int qcow2_refcount_order_read(
    struct options *o, unsigned *order, struct err *e);
/* What counts `used_cl` clusters and itself. */
void qcow2_refcount_space(const struct qcow2_params *p, uint64_t used_cl,
    uint64_t *reftable_cl, uint64_t *refblock_n);

#endif
