/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * An image that is amended, step by step, and what it holds all the time; for
 * the crash and fault tests of amend.  What fails here fails the test.
 */
#ifndef TEST_AMENDED_H
#define TEST_AMENDED_H

#include "holding.h"

#define AMENDED_STEPS 8u

struct amended_scene {
	const char *options; /* of create */
	uint64_t size;	     /* guest bytes */
	bool overlay, snapshot, bitmap;
	const char *step[AMENDED_STEPS]; /* options of amend, in turn; NULL */
};
extern const struct amended_scene amended_scenes[];
extern const size_t amended_scene_n;

/* What a header says that a step may change. */
struct amended_head {
	uint64_t version, order, features, size;
};

struct amended {
	const struct amended_scene *scene;
	struct holding old, new; /* before and after the step: one is found */
	struct amended_head old_head;
	unsigned peer_each;	 /* of how many images the peer checks one */
	unsigned image_n, old_n; /* looked at; with the old header */
};

/* The backing file of all overlays, "base" in the working folder. */
void amended_make_base(void);
/* Fill an image that was created, and take what it holds into `a`. */
void amended_start(struct amended *a, struct hostfile *f);
void amended_end(struct amended *a);
/* The step is about to be done to the image in `f`. */
void amended_begin(struct amended *a, const char *step, struct hostfile *f);
/* It was done. */
void amended_done(struct amended *a);
struct image *amended_open(struct hostfile *f, struct err *e);
/* Do a step to an image. */
int amended_step(struct image *img, const char *step, struct err *e);
/* What a crash or a failure left is whole; takes over the reference to f. */
void amended_judge(struct amended *a, struct hostfile *f);

#endif
