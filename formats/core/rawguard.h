/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The first sector of a raw image belongs to its user, who could write there
 * what another format begins with, and so make the next program that guesses
 * the format open files of the host as backing files.  So where the format was
 * a guess, such a write is refused.
 */
#ifndef IMGD_RAWGUARD_H
#define IMGD_RAWGUARD_H

#include "../driver.h"

/* Does a write at `off` have to be looked at? */
bool rawguard_concerns(const struct image *img, uint64_t off);
/* EPERM if these bytes must not be written.  The guest range is locked. */
int rawguard_check(struct image *img, const void *buf, size_t len, uint64_t off,
    struct err *e);

#endif
