/* SPDX-License-Identifier: BSD-3-Clause */
/* What -o says about an image that is to be made, or amended. */
#ifndef CTL_CREATEOPTS_H
#define CTL_CREATEOPTS_H

#include <stdio.h>

#include "formats/image.h"

/* Add -o lists, and -b and -F (NULL: not given) over them. */
int createopts_add(struct options *o, const char *const *lists,
    const char *backing, const char *backing_fmt, struct err *e);
/* Is `help` or `?` among them? */
bool createopts_help_wanted(const struct options *o);
/*
 * Print what there is for a format; with `target` (may be NULL) known, also
 * what it adds.  The exit code.
 */
int createopts_help(const char *format, const char *target);
/* Print the options of a list, one a line. */
void createopts_list(const struct img_opt *opts);
/* A format that images can be made of; NULL with *e set. */
const struct img_format *createopts_format(const char *name, struct err *e);
/* Print ` name=value` for each that is set or has a default to be shown. */
int createopts_print(
    FILE *f, const struct img_format *fmt, struct options *o, struct err *e);

#endif
