/* SPDX-License-Identifier: BSD-3-Clause */
/* A second copy of bytes that a file has. */
#ifndef IMGD_DUPLICATE_H
#define IMGD_DUPLICATE_H

#include "../host/hostfile.h"

/* [from, from + len) at `to` too; the two do not overlap.  Not durable yet. */
int duplicate(struct hostfile *f, uint64_t from, uint64_t to, uint64_t len,
    struct err *e);

#endif
