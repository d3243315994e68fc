/* SPDX-License-Identifier: BSD-3-Clause */
/* Several exports from the command line: --export. */
#ifndef IMGD_EXPORTLIST_H
#define IMGD_EXPORTLIST_H

#include "exports.h"

struct export_list {
	struct export_spec *spec;
	size_t n;
};

/*
 * `base` says what an export does not say itself.  Strings of the specs are the
 * list's, or those of `base`.
 */

/* From NAME=FILE[,KEY=VALUE...]. */
int export_list_add(struct export_list *l, const struct export_spec *base,
    const char *text, struct err *e);
void export_list_clear(struct export_list *l);

#endif
