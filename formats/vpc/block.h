/* SPDX-License-Identifier: BSD-3-Clause */
/* Dynamic and differencing VHDs: the driver's functions on blocks, as driver.h
 * says for those of the same name. */
#ifndef IMGD_VPC_BLOCK_H
#define IMGD_VPC_BLOCK_H

#include "vpc.h"

int vpc_block_map(struct image *img, uint64_t guest, uint64_t len,
    struct extent *x, struct err *e);
int vpc_block_reserve(struct image *img, uint64_t guest, uint64_t len,
    uint64_t stored, struct reservation *r, struct err *e);
int vpc_block_publish(
    struct image *img, const struct reservation *r, struct err *e);
void vpc_block_abandon(struct image *img, const struct reservation *r);
int vpc_block_release(
    struct image *img, uint64_t host, uint64_t len, struct err *e);

#endif
