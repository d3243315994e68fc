/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a file system can be told about a new file, whatever format it gets:
 * the options nocow and extent_size_hint.  Most file systems ignore them.
 */
#ifndef IMGD_HINTS_H
#define IMGD_HINTS_H

#include "../driver.h"

struct hints {
	bool nocow;	     /* blocks are written in place (btrfs)    */
	bool has_extent;     /* the next one was given                 */
	uint64_t extent_len; /* bytes to allocate at least; 0: no hint */
};

int hints_read(struct options *o, struct hints *h, struct err *e);
/* For a file that is still empty. */
void hints_give(const struct hostfile *f, const struct hints *h);

#endif
