/* SPDX-License-Identifier: BSD-3-Clause */
/* A list of internal snapshots, as a table for people or as JSON. */
#ifndef CTL_SNAPSHOTS_H
#define CTL_SNAPSHOTS_H

#include <stdio.h>

#include "formats/image.h"
#include "jout.h"

/* Nothing for an empty list. */
void snapshots_table(FILE *f, const struct img_snapshot *list, size_t n);
void snapshots_json(struct jout *w, const struct img_snapshot *list, size_t n);

#endif
