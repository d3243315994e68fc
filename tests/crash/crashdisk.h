/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A disk that can lose power, in one file (crashfile.h) or, VMDK, in several
 * (crashdir.h): then it is live/disk.vmdk.  What fails here fails the test.
 */
#ifndef TEST_CRASHDISK_H
#define TEST_CRASHDISK_H

#include "crash.h"
#include "crashfile.h"
#include "parts.h"

struct crashdisk {
	struct crashfile *c;   /* NULL: several files */
	struct hostfile *host; /* what is opened as the image */
};

/* An empty file; or, where there are parts, the disk that they make. */
void crashdisk_new(struct crashdisk *d, const struct parts *parts);
void crashdisk_free(struct crashdisk *d);
/* Between the two each sync is watched; `w` stays until then. */
void crashdisk_watch(struct crashdisk *d, struct crash_watch *w);
void crashdisk_watch_end(struct crashdisk *d);
/* The image as a power failure could leave it now; seeds as for
 * crashfile_image().  It belongs to the caller. */
struct hostfile *crashdisk_image(struct crashdisk *d, uint64_t seed);

#endif
