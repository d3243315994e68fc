/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The ends of a raw image belong to its user, who could write there what
 * another format is recognised by, and so make the next program that guesses
 * the format open files of the host as backing files.  So where the format was
 * a guess, such a write is refused.
 */
#ifndef IMGD_RAWGUARD_H
#define IMGD_RAWGUARD_H

#include "../driver.h"

/* Does a write to [off, off + len) have to be looked at? */
bool rawguard_concerns(const struct image *img, uint64_t off, uint64_t len);
/* How many of these bytes, from the first on, have to be (*looked_at), or need
 * not be?  len > 0. */
uint64_t rawguard_run(
    const struct image *img, uint64_t off, uint64_t len, bool *looked_at);
/* Widen a guest range that is to be locked for a write: what is looked at as a
 * whole is locked as a whole. */
void rawguard_widen(const struct image *img, uint64_t *start, uint64_t *end);
/* EPERM if these bytes must not be written.  The guest range is locked. */
int rawguard_check(struct image *img, const void *buf, size_t len, uint64_t off,
    struct err *e);

#endif
