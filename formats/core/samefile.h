/* SPDX-License-Identifier: BSD-3-Clause */
/* Are two host files, opened each on its own, the same storage? */
#ifndef IMGD_SAMEFILE_H
#define IMGD_SAMEFILE_H

#include <stdbool.h>

struct hostfile;

/* False also when that cannot be told. */
bool same_file(const struct hostfile *a, const struct hostfile *b);

#endif
