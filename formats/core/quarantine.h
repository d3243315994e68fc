/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Quarantine: host space that a mapping gave up and that nobody may use yet.
 *
 * Space enters when publish or unmap repoints a mapping (meta exclusive).  It
 * keeps its reference count, so the allocator passes it by.  It leaves when
 *   - the metadata that forgot it is durable (a commit that began later ended),
 *   - every request that could have seen it has ended (pin_passed),
 *   - its hole-punch, if any, has finished;
 * only then the driver's release() lowers its count (I1, I3).
 *
 * Threads: all functions take a leaf lock.
 */
#ifndef IMGD_QUARANTINE_H
#define IMGD_QUARANTINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "err.h"
#include "lock.h"
#include "pin.h"

struct retired {
	uint64_t host, len; /* bytes */
	uint64_t tag;	    /* pin_now() when it was retired */
	bool punch;	    /* give the space back to the host */
	bool whole;	    /* whole clusters: may become one with another */
};

struct quarantine {
	struct mutex lock;
	struct retired *item;
	size_t max;	    /* slots of item[]; a power of two          */
	uint64_t taken;	    /* serial numbers: the oldest one inside,   */
	uint64_t forgotten; /* the oldest one not forgotten durably,    */
	uint64_t added;	    /* and the next one to come                 */
	uint64_t marked;    /* a commit covers those below              */
};

void quarantine_init(struct quarantine *q);
void quarantine_destroy(struct quarantine *q);
int quarantine_add(
    struct quarantine *q, const struct retired *r, struct err *e);
/* Ranges inside. */
uint64_t quarantine_n(struct quarantine *q);
/* taken <= forgotten <= marked <= added: for assert_image_state(). */
bool quarantine_in_order(struct quarantine *q);
/* A commit that begins now will cover what was added before this mark. */
uint64_t quarantine_mark(struct quarantine *q);
/* The commit that began at the mark has ended. */
void quarantine_forgotten(struct quarantine *q, uint64_t mark);
/* Take one that may be used again; false when there is none. */
bool quarantine_take(struct quarantine *q, struct pin *p, struct retired *r);

#endif
