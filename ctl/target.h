/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The file that a command makes.
 *
 * A regular file is made under a temporary name in the same folder (names
 * relative to it keep their meaning) and takes its place when it is complete,
 * so that what stood there is whole until then, and stays when the command
 * fails or is interrupted.  The new file gets owner, mode and extended
 * attributes of the old one.  Meanwhile the old one is locked, so that an
 * image in use is refused.
 *
 * Devices, files in a folder where nothing can be made, mount points, and
 * files whose attributes cannot be kept are written in place.
 */
#ifndef CTL_TARGET_H
#define CTL_TARGET_H

#include "formats/image.h"

struct target {
	const char *name;   /* as the user gave it                  */
	char *real;	    /* the file that is replaced or made    */
	char *temp;	    /* its temporary name; NULL: in place   */
	struct image *held; /* the old file, for its lock; or NULL */
	const char *many;   /* the format, of an image of several files */
};

int target_begin(struct target *t, const char *name, struct err *e);
/* The same of an image of that format that has further files: they have
 * temporary names too.  Not where the name is a symbolic link: readers look for
 * the files beside that. */
int target_begin_many(
    struct target *t, const char *name, const char *format, struct err *e);
/* What to create and open. */
const char *target_path(const struct target *t);
/*
 * The file is complete and closed: put it in its place.  With `durable` it is
 * on stable storage before.  The target is released in any case; on failure
 * the temporary file is gone.
 */
int target_commit(struct target *t, bool durable, struct err *e);
/* Give up: the temporary file goes.  No effect after target_commit(). */
void target_abandon(struct target *t);
/* Messages name the target as the user did, not by its temporary name. */
void target_name_in(const struct target *t, struct err *e);

#endif
