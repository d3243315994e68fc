/* SPDX-License-Identifier: BSD-3-Clause */
/* Making a disk smaller, for resize.c.  The gate is closed. */
#ifndef IMGD_QCOW2_RESIZE_H
#define IMGD_QCOW2_RESIZE_H

#include "qcow2.h"

/* May the disk have that size, when the image has that version? */
int qcow2_resize_check(
    const struct image *img, unsigned version, uint64_t size, struct err *e);
/* Give up what lies past `size`; the size itself is the caller's to change. */
int qcow2_cut(struct image *img, uint64_t size, struct err *e);
/* The file ends where its last used cluster does.  Everything is committed. */
int qcow2_cut_file(struct image *img, struct err *e);

#endif
