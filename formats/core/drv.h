/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The checked wrappers: the only callers of a driver's pointers for requests.
 * They assert the locks and check each answer against the contract, in release
 * builds too: an answer that breaks it is an error, never a wrong byte.
 */
#ifndef IMGD_DRV_H
#define IMGD_DRV_H

#include "../driver.h"

int drv_map(struct image *img, uint64_t guest, uint64_t len, struct extent *x,
    struct err *e) REQUIRES_SHARED(img->meta);
int drv_reserve(struct image *img, uint64_t guest, uint64_t len,
    uint64_t stored, struct reservation *r, struct err *e) REQUIRES(img->meta);
int drv_publish(struct image *img, const struct reservation *r, struct err *e)
    REQUIRES(img->meta);
void drv_abandon(struct image *img, const struct reservation *r)
    REQUIRES(img->meta);
/* *done = 0 where the driver has none. */
int drv_unmap(struct image *img, uint64_t guest, uint64_t len,
    enum unmap_how how, uint64_t *done, struct err *e) REQUIRES(img->meta);
int drv_release(struct image *img, uint64_t host, uint64_t len, struct err *e)
    REQUIRES(img->meta);
/* Formats without tables: a sync of the file. */
int drv_commit(struct image *img, struct err *e) EXCLUDES(img->meta);

#endif
