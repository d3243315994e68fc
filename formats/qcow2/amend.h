/* SPDX-License-Identifier: BSD-3-Clause */
/* The steps of a change of what an image was created with, for amend.c.  The
 * gate is closed, and everything is committed. */
#ifndef IMGD_QCOW2_AMEND_H
#define IMGD_QCOW2_AMEND_H

#include "qcow2.h"

/* amend_counts.c: 1 << order bits for each count; the header goes with it. */
int qcow2_amend_counts(struct image *img, unsigned order, struct err *e);

/* amend_zeroes.c */
/* No entry of the disk, or of a snapshot, has the zero flag any more. */
int qcow2_amend_zeroes(struct image *img, struct err *e);
/* Is any cluster compressed? */
int qcow2_amend_any_packed(struct image *img, bool *found, struct err *e);

#endif
