/* SPDX-License-Identifier: BSD-3-Clause */
/* Resizing: what is done to one extent (resize_extent.c), for resize.c. */
#ifndef IMGD_VMDK_RESIZE_H
#define IMGD_VMDK_RESIZE_H

#include "vmdk.h"

/* Where the directories of an extent are, or were. */
struct vmdk_dirs {
	uint64_t gd, rgd, len; /* host bytes; the length in bytes */
};

/* Its file has room for `len` bytes of the disk, or more; nothing says so yet.
 * `prealloc`: of a flat one. */
int vmdk_extent_grow(struct image *img, struct vmdk_extent *x, uint64_t len,
    enum img_prealloc prealloc, struct err *e);
/* It stays as long as x->len says, with the directories that it had. */
void vmdk_extent_ungrow(
    struct image *img, struct vmdk_extent *x, const struct vmdk_dirs *old);
/* Its header says `len`, and where the tables are; it is durable. */
int vmdk_extent_switch(struct vmdk_extent *x, uint64_t len, struct err *e);
/* After that the directories that it had before are not used any more. */
void vmdk_extent_forget(struct vmdk_extent *x, const struct vmdk_dirs *old);
/* What lies past `len` goes; nothing says any more that it is there. */
int vmdk_extent_cut(
    struct image *img, struct vmdk_extent *x, uint64_t len, struct err *e);

#endif
