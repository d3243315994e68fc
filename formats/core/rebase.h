/* SPDX-License-Identifier: BSD-3-Clause */
/* What an image gets before its backing file changes. */
#ifndef IMGD_REBASE_H
#define IMGD_REBASE_H

#include "../driver.h"

/*
 * Copy into the image what it reads from below and what `to` (NULL: zeroes)
 * does not have in the same place.  Nothing is committed.
 */
int rebase_copy(const struct img_rebase *job, struct image *to, struct err *e);

#endif
