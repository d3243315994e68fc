/* SPDX-License-Identifier: BSD-3-Clause */
/* Options that a user gave against the list of those that a format takes. */
#ifndef IMGD_OPTCHECK_H
#define IMGD_OPTCHECK_H

#include "../image.h"

/* The option of that name in a list that ends with a NULL name, or NULL. */
const struct img_opt *opt_find(const struct img_opt *list, const char *name);
/* Do the values of those in the list have its types? */
int opts_check_types(
    const struct img_opt *list, struct options *o, struct err *e);

#endif
