/* SPDX-License-Identifier: BSD-3-Clause */
/* Fast deflate with ISA-L, where the build has it.  Arguments: codec_impl.h. */
#ifndef IMGD_ISAL_H
#define IMGD_ISAL_H

#include <stddef.h>
#include <sys/types.h>

#include "../core/err.h"

/* Readers of qcow2 keep a window of 4 KiB: no distance may be longer. */
#define DEFLATE_WINDOW_BITS 12

struct isal_packer;

struct isal_packer *isal_packer_new(struct err *e);
void isal_packer_free(struct isal_packer *p); /* NULL is allowed */
ssize_t isal_pack(struct isal_packer *p, void *dst, size_t dst_len,
    const void *src, size_t len, struct err *e);

#endif
