/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What an image holds, as a test knows it: the disk and its snapshots,
 * with the VM state of those that have one.  What fails here fails the test.
 */
#ifndef TEST_HOLDING_H
#define TEST_HOLDING_H

#include <stddef.h>
#include <stdint.h>

#include "formats/image.h"

#define HOLDING_LEN 0x180000u /* no disk with its VM state has more bytes */
#define HOLDING_MAX 6u	      /* snapshots */

struct holding_disk {
	char name[8];
	uint64_t size; /* guest bytes */
	uint64_t vm_len;
	uint8_t *bytes; /* HOLDING_LEN: disk, VM state, zeroes */
};

struct holding {
	struct holding_disk disk;
	struct holding_disk snap[HOLDING_MAX];
	size_t snap_n;
};

void holding_init(struct holding *h, uint64_t size);
void holding_free(struct holding *h);
/* What `to` had is freed. */
void holding_copy(struct holding *to, const struct holding *from);
void holding_snapshot(struct holding *h, const char *name);
void holding_forget(struct holding *h, size_t i);
void holding_apply(struct holding *h, size_t i);
void holding_resize(struct holding *h, uint64_t size);

/*
 * NULL, or what is different in the image.  Each sector of the disk may also
 * be as `or_else` has it, if that is not NULL; `upto` bytes of it count.  The
 * file is written to, and not good for anything else afterwards.
 */
const char *holding_differs(const struct holding *h, const uint8_t *or_else,
    uint64_t upto, struct hostfile *f);

/*
 * The image, which is closed, has one snapshot: its disk is now one of `size`
 * bytes, a multiple of what an L2 table maps, and its VM state what was behind.
 */
void holding_make_vm_state(
    struct holding *h, struct hostfile *f, uint64_t size);

#endif
