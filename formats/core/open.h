/* SPDX-License-Identifier: BSD-3-Clause */
/* Opening the files that an image names. */
#ifndef IMGD_OPEN_H
#define IMGD_OPEN_H

#include "../driver.h"

/* HOST_* flags for a file of an image opened with `how`. */
unsigned open_host_flags(const struct img_open *how);
/* Take the locks that a user of a file with these HOST_* flags needs. */
int open_lock(struct hostfile *f, struct err *e);
/* Is this a driver of storage, not of a format? */
bool storage_is_driver(const char *name);
/*
 * The file node that options describe (`filename`, `driver`, `locking`,
 * `aio`, `server.host`, ...); every key is asked for.  NULL on failure.
 */
struct hostfile *open_file_options(
    struct options *o, unsigned host_flags, struct err *e);
/* Is what has that name storage of this kind, if it is there? */
int storage_check_kind(const char *name, const char *driver, struct err *e);
/* Does a colon come before the first slash: `nbd:...`, `json:...`? */
bool name_has_protocol(const char *name);
/* A path as users write it: `file:` is taken off, other protocols refused.
 * NULL with *e set. */
const char *open_plain_path(const char *name, struct err *e);
/*
 * The image that `above` names as its parent, to see who it is: alone, and
 * whoever uses it.  `name` is a path, as seen from `above`.
 */
struct image *open_parent(
    const char *above, const char *name, const char *format, struct err *e);
/* As img_open() for a file that another one names: where there is none of that
 * name, it is said once. */
struct image *open_named_file(
    const char *name, const struct img_open *how, struct err *e);
/* Storage by its name: a path or an NBD URI.  NULL with *e set. */
struct hostfile *open_storage(
    const char *name, unsigned host_flags, struct err *e);
/* The same for every name of the same storage, malloc'd; NULL: not known. */
char *storage_identity(const char *name);
/* Could there be storage of that name? */
int open_storage_check(const char *name, struct err *e);

#endif
