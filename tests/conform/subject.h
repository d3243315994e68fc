/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * An image under test with its oracle.  What fails here fails the test, with a
 * message that says the seed, the step and the operation.
 */
#ifndef TEST_SUBJECT_H
#define TEST_SUBJECT_H

#include "formats/driver.h"
#include "geometry.h"
#include "oracle.h"
#include "rng.h"

#define SNAPSHOT_MAX 3u

struct subject {
	const struct geometry *g;
	struct hostfile *file; /* a reference of its own */
	struct image *img;
	struct oracle oracle;
	uint8_t *base; /* bytes below the disk, as long as the disk */
	uint8_t *snapshot[SNAPSHOT_MAX]; /* what the disk was then */
	unsigned snapshot_n;
	uint64_t seed;
	struct rng rng;
	unsigned step;
	char op[128]; /* the operation, for messages */
	struct err e; /* always clear, but inside a call */
};

/* Make the image and what it stands on, and open it. */
void subject_make(struct subject *s, const struct geometry *g, uint64_t seed);
void subject_free(struct subject *s);
void subject_fail(struct subject *s, const char *fmt, ...)
    __attribute__((format(printf, 2, 3), noreturn));
/* The call must have given 0 or more. */
void subject_must(struct subject *s, int64_t rc);

void subject_open(struct subject *s, const struct img_open *how);
void subject_close(struct subject *s);
/* The image is closed: qemu-img takes a snapshot. */
void subject_snapshot(struct subject *s);

/* ---- looking ------------------------------------------------------------ */

/* The bytes are right. */
void subject_read(struct subject *s, uint64_t len, uint64_t off);
/* All of the disk is right; settles what was trimmed. */
void subject_read_all(struct subject *s);
/* The map of the chain and of the top layer covers the disk and tells the
 * truth.  Nothing may be left unsettled. */
void subject_map(struct subject *s);
/* The image is closed: its snapshots have what the disk had then. */
void subject_read_snapshots(struct subject *s);
/* The image is closed: our check and qemu-img's find nothing. */
void subject_check(struct subject *s);

#endif
