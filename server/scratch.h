/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A disk that can be written and whose file stays as it is: writes go to a
 * temporary image above it, which has no name and goes when it is closed.
 */
#ifndef IMGD_SCRATCH_H
#define IMGD_SCRATCH_H

#include "exports.h"

/* `below` is what the spec names, opened for reading; only looked at. */
struct image *scratch_open(
    const struct export_spec *spec, const struct image *below, struct err *e);

#endif
