/* SPDX-License-Identifier: BSD-3-Clause */
/* The facts about one image, in the two layouts of `info`. */
#ifndef CTL_INFOPRINT_H
#define CTL_INFOPRINT_H

#include <stdio.h>

#include "formats/image.h"
#include "jout.h"

struct facts {
	struct img_info info;
	struct img_snapshot *snapshot;
	size_t snapshot_n;
};

void infoprint_human(FILE *f, const struct facts *x);
/* As an object; at the top, or an item of a list. */
void infoprint_json(struct jout *w, const struct facts *x);

#endif
