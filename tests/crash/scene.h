/* SPDX-License-Identifier: BSD-3-Clause */
/* The images that the crash and fault suites start from. */
#ifndef TEST_SCENE_H
#define TEST_SCENE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base.h"
#include "formats/host/hostfile.h"

enum start {
	START_EMPTY = 0, /* made by us                                    */
	START_PACKED,	 /* full of data, compressed, by qemu-img          */
	START_SNAPSHOT,	 /* full of data; a snapshot shares all clusters   */
};

struct scene {
	const char *name;
	const char *format;
	const char *options; /* of create; NULL none */
	uint64_t size;	     /* guest bytes, whole sectors */
	enum start start;
	enum base base;
	unsigned flags; /* IMG_O_* besides IMG_O_RDWR */
};

extern const struct scene scenes[];
extern const size_t scene_n;

bool scene_can_run(const struct scene *s);
/*
 * Put the image on empty storage, and make what it stands on.  Returns what
 * the disk holds, NULL zeroes; free() it.  What fails fails the test.
 */
uint8_t *scene_make(const struct scene *s, struct hostfile *f, uint64_t seed);

#endif
