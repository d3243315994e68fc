/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A folder whose files are exports, under their names.
 *
 * The folder is looked at when somebody asks.  A file is opened for the first
 * client that wants it and closed after the last; all that have it at a time
 * share one image.  Whoever has a file keeps it when another takes its name.
 *
 * An entry is what is known of a name.  It stays when its file is closed, for
 * its statistics, until the file is gone.
 *
 *	CLOSED --get--> BUSY --opened--> OPEN --put--> BUSY --closed--> CLOSED
 *
 * Only the thread that made an entry BUSY changes its image; others who want
 * it wait.
 *
 * Threads: any.  The lock is not held while an image is opened or closed, but
 * for temporary ones (--snapshot), which are only forgotten.
 */
#ifndef IMGD_FOLDER_H
#define IMGD_FOLDER_H

#include "exports.h"

struct folder;

/* `base` says how files are opened; its strings are kept. */
struct folder *folder_new(const char *dir, const struct export_spec *base,
    bool multi_conn, struct err *e);
/* Nobody has an export any more. */
int folder_free(struct folder *f, struct err *e);

/* NULL when there is none, or it cannot be opened.  Then folder_put(). */
const struct export *folder_get(struct folder *f, const void *name, size_t len);
void folder_put(struct folder *f, const struct export *x);

/* The names of all files that are exports, sorted; malloc'd, and NULL at the
   end.  NULL when the folder cannot be read. */
char **folder_names(struct folder *f);
void folder_names_free(char **names); /* NULL is allowed */

/* Those that were asked for: their names and statistics are there.  The folder
   is locked meanwhile. */
void folder_each(struct folder *f,
    void (*fn)(const struct export *x, void *data), void *data);

#endif
