/* SPDX-License-Identifier: BSD-3-Clause */
/* What an image that options describe is called. */
#ifndef IMGD_TREENAME_H
#define IMGD_TREENAME_H

#include "options.h"

/*
 * json:{...} that opens the image of `o` as it is, malloc'd; NULL where the
 * name of its file does that (with the same format), or that cannot be told.
 */
char *tree_name(struct options *o, const char *format);

#endif
