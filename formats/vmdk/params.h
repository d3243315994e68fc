/* SPDX-License-Identifier: BSD-3-Clause */
/* What an image is to be like, and how a sparse extent is laid out. */
#ifndef IMGD_VMDK_PARAMS_H
#define IMGD_VMDK_PARAMS_H

#include <stdio.h>

#include "vmdk.h"

#define VMDK_SPLIT_LEN (2 * GiB) /* of the disk, in one file */

struct vmdk_params {
	const char *create_type; /* the subformat */
	bool flat, split, stream, zero_gte;
	const char *adapter, *hwversion, *tools;
	uint64_t size; /* bytes, whole sectors */
};

int vmdk_params_read(
    const struct create_args *a, struct vmdk_params *p, struct err *e);

/* Sectors of the parts of a sparse extent with tables in place. */
struct vmdk_layout {
	uint64_t gd_n;	   /* grain tables */
	uint64_t gd_len;   /* of a directory */
	uint64_t gts_len;  /* of its tables, which follow it */
	uint64_t rgd, gd;  /* where the directories are */
	uint64_t overhead; /* where the grains begin */
};
/* -1: so many tables that they leave no place for data. */
int vmdk_lay_out(uint64_t size, struct vmdk_layout *l, struct err *e);

/* ---- files (parts.c) ----------------------------------------------------- */

/* An empty extent of `len` bytes of the disk, into an empty file, or behind the
 * descriptor that it has. */
int vmdk_part_fill(struct hostfile *f, const struct vmdk_params *p,
    uint64_t len, struct err *e);
/* NAME-f001.EXT beside NAME.EXT, malloc'd. */
char *vmdk_part_name(const struct vmdk_params *p, const char *base,
    unsigned number, struct err *e);
/* Bytes of a descriptor in a file of its own, where the names of the extents
 * are as long as they can be. */
int vmdk_desc_measure(const struct create_args *a, const struct vmdk_params *p,
    uint64_t *len, struct err *e);
/* The line of the descriptor. */
void vmdk_part_line(
    FILE *out, const struct vmdk_params *p, const char *name, uint64_t len);

#endif
