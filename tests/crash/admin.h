/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * An image whose disk is written, and whose snapshots and size change,
 * beside a model of what it has to hold then.  What fails here fails the test.
 */
#ifndef TEST_ADMIN_H
#define TEST_ADMIN_H

#include <stdbool.h>

#include "crash.h"
#include "holding.h"
#include "rng.h"

struct admin_scene {
	const char *options;
	uint64_t size;
	bool vm_state;	    /* the first snapshot has some */
	bool fixed;	    /* the size may not change (version 2) */
	const char *format; /* NULL: qcow2; others have no snapshots */
	bool no_prealloc;   /* it refuses to preallocate when it grows */
};

static inline const char *admin_format(const struct admin_scene *s)
{
	return s->format ? s->format : "qcow2";
}

struct admin {
	const struct admin_scene *scene;
	struct crashfile *crash; /* or NULL */
	struct hostfile *file;
	struct image *img;
	struct rng rng;
	struct holding now, next;
	bool changing;	  /* `next` may be found as well */
	uint8_t *flushed; /* the disk as it is surely stored */
	uint8_t *round;	  /* of each sector: when it was last written */
	unsigned round_n;
	bool must; /* no call may fail */
	bool hit;  /* one did, in faults */
	unsigned image_n, name_n, change_n;
};

/* On a->file, which has an empty image: some content, durable. */
void admin_start(struct admin *a);
void admin_end(struct admin *a);
void admin_open(struct admin *a, struct err *e);
/* A write; a change of the snapshots or of the size; any of them or a flush. */
int admin_write(struct admin *a);
int admin_change(struct admin *a);
int admin_step(struct admin *a);
/* All that is there now is durable. */
void admin_settle(struct admin *a);
/* Takes the reference of an image that was left, closed or not. */
void admin_judge(struct admin *a, struct hostfile *f);

#endif
