/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What every request does first and last: check its range, pass the gate, pin
 * the epoch (I1).
 */
#ifndef IMGD_REQUEST_H
#define IMGD_REQUEST_H

#include "../driver.h"

/* [off, off + len) lies inside the disk, or -1 with EINVAL. */
int request_check(
    const struct image *img, uint64_t len, uint64_t off, struct err *e);
/* The same for a writer: also writable and not FAILED. */
int request_check_write(
    const struct image *img, uint64_t len, uint64_t off, struct err *e);
/* The token goes to request_leave(), which any thread may call. */
unsigned request_enter(struct image *img);
/* The same without waiting: false when the gate is closed.  For a thread that
 * is inside already: waiting, it would wait for itself. */
bool request_tryenter(struct image *img, unsigned *pin);
void request_leave(struct image *img, unsigned pin);
/*
 * Enter for a read of [off, off + len), which must lie inside the disk; that is
 * looked at inside the gate, where the size stays.
 */
int request_begin(struct image *img, uint64_t len, uint64_t off, unsigned *pin,
    struct err *e);

/*
 * Run fn on a writable image when no request is inside, with everything
 * committed before and after it.
 */
int request_alone(struct image *img,
    int (*fn)(struct image *img, void *arg, struct err *e), void *arg,
    struct err *e);

/*
 * Make everything published before the call durable; calls that come together
 * share one commit.  No locks held.
 */
int image_commit(struct image *img, struct err *e);
/* The same for a request: through the gate, but without a pin, which would
 * keep retired space from going. */
int request_commit(struct image *img, struct err *e);
/* Is so much dirty or in quarantine that memory would grow? */
bool image_commit_due(struct image *img);
/* Commit if so much is dirty or in quarantine that memory would grow. */
int image_commit_if_due(struct image *img, struct err *e);

#endif
