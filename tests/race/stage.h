/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A qcow2 image in memory, on storage whose calls can be held.  What fails
 * here fails the test: main thread only.
 */
#ifndef TEST_STAGE_H
#define TEST_STAGE_H

#include "actor.h"
#include "disk.h"
#include "hold.h"

#define STAGE_CLUSTER 4096u

struct stage {
	struct hold h;
	struct disk d; /* of 2 MiB, with clusters of STAGE_CLUSTER bytes */
};

/* Opened for writing and trimming; `under` is taken over, NULL: memory. */
void stage_new(struct stage *s, struct hostfile *under, const char *options);
void stage_free(struct stage *s);
void stage_reopen(struct stage *s);

/* Write, read back, or expect one cluster of that letter at cluster `cl`. */
void stage_write(struct stage *s, uint64_t cl, char letter);
void stage_expect(struct stage *s, uint64_t cl, char letter);
void stage_flush(struct stage *s);
void stage_trim(struct stage *s, uint64_t cl);
/* Where the data of a guest cluster is in the file; UINT64_MAX nowhere. */
uint64_t stage_host(struct stage *s, uint64_t cl);

#endif
