/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A damaged image, which is repaired while power or host calls fail.  What
 * could be read before can be read still, nothing else is wrong than before,
 * and the repair can be made again.  What fails here fails the test.
 */
#ifndef TEST_MENDED_H
#define TEST_MENDED_H

#include "crash.h"
#include "formats/image.h"
#include "rng.h"

#define MENDED_UNIT 512u /* bytes that are read at once */

struct mended_damage {
	const char *name;
	void (*fn)(struct hostfile *f, struct rng *r);
	enum img_repair what;
	bool stays; /* no repair puts right all of it */
};

struct mended_scene {
	const char *format, *options;
	uint64_t size; /* guest bytes, whole units */
};

struct mended {
	const struct mended_scene *scene;
	const struct mended_damage *damage;
	struct crashfile *crash; /* or NULL */
	struct hostfile *file;
	uint8_t *want;	 /* what the disk reads ... */
	bool *readable;	 /* ... of each unit, where it does */
	uint64_t wrong;	 /* what is wrong before, without leaks and flags */
	uint64_t remain; /* what no repair can put right */
	unsigned image_n;
};

/* An image with data, damaged, and what is known of it, in m->file, a new file
 * in memory or, if `crash`, one that can lose power. */
void mended_begin(struct mended *m, const struct mended_scene *scene,
    const struct mended_damage *damage, bool crash, uint64_t seed);
void mended_end(struct mended *m);
/* Repair what is in a file. */
int mended_repair(struct mended *m, struct hostfile *f, struct img_check *found,
    struct err *e);
/* The disk reads what it did. */
void mended_expect(struct mended *m, struct hostfile *f);

/* Power fails at each sync of a repair. */
void mended_crashes(const struct mended_scene *scene,
    const struct mended_damage *damage, uint64_t seed);
/* Host calls fail in turn, each `stride`-th. */
void mended_faults(const struct mended_scene *scene,
    const struct mended_damage *damage, uint64_t stride);

#endif
