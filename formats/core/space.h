/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Host space of a format that keeps no record of what is free.
 *
 * From `base` to the end, the file is units of one length; each is owned or
 * free.  A format whose tables can be read at open finds out what is free:
 *
 *   space_init, space_scan_begin   all units up to the end are free
 *   space_claim                    for each mapping and structure: owned
 *   space_scan_end                 what nobody has claimed can be taken
 *
 * Without a scan all units are owned, and what can be taken is what was given
 * back, or new space at the end.
 *
 * Invariants: no unit is taken while it is owned.  A unit that was claimed
 * twice is shared: its owners must not write it in place (EXT_F_SHARED), and
 * it is never free again.  A unit claimed past the end is never taken when the
 * file grows up to it.  What begins before the end and goes past it moves the
 * end.
 *
 * Memory goes with what is partly free: long runs of one kind take next to
 * nothing.  Lock: the image's meta, exclusive; shared for space_shared().
 */
#ifndef IMGD_SPACE_H
#define IMGD_SPACE_H

#include "clusterset.h"

struct space_leaf;

/* To be read by others, changed by the functions below only. */
struct space {
	uint64_t base;	   /* host byte of unit 0                          */
	uint64_t unit_len; /* bytes; any number > 0                        */
	uint64_t end_ix;   /* first unit that nobody has had yet           */
	uint64_t max_ix;   /* the end never goes past it                   */
	uint64_t first_ix; /* no unit below it is free                     */
	uint64_t free_n;   /* units                                        */
	uint64_t far_n;	   /* claims of units past the end                 */
	struct space_leaf **leaf; /* which units are free; NULL: none there */
	size_t leaf_n;
	struct clusterset shared, far; /* units claimed twice; past the end */
};

/*
 * `end`: host byte where the space that the file has ends; rounded up to a
 * unit.  `limit`: it never grows past that host byte.  base <= end, limit.
 */
void space_init(struct space *s, uint64_t base, uint64_t unit_len, uint64_t end,
    uint64_t limit);
/* Of a space that is initialised, or all zero. */
void space_destroy(struct space *s);

int space_scan_begin(struct space *s, struct err *e);
/*
 * All units that [host, host + len) touches have an owner (more).  What lies
 * below the base does not count.  1: one of them had an owner already, and is
 * shared now; 0: none had; -1: out of memory.
 */
int space_claim(struct space *s, uint64_t host, uint64_t len, struct err *e);
void space_scan_end(struct space *s);
/* Does it touch a unit that is shared? */
bool space_shared(const struct space *s, uint64_t host, uint64_t len);

/*
 * Space of at most `most` bytes in one piece, *got of them: a multiple of
 * `least`, which is whole units.  What is free goes first, from the front; then
 * the end moves on.  The caller makes the file grow.
 */
int space_take(struct space *s, uint64_t least, uint64_t most, uint64_t *host,
    uint64_t *got, struct err *e);
/* Whole units that nobody owns any more.  What there is no memory for stays
 * owned: a leak. */
void space_give(struct space *s, uint64_t host, uint64_t len);
/* Units that begin in [from, to) and are free are to be taken by nobody. */
int space_claim_free(
    struct space *s, uint64_t from, uint64_t to, struct err *e);
/* The space ends at `end`, a unit's; nothing past it is used or free. */
void space_cut(struct space *s, uint64_t end);

/* Host byte where the space ends; what lies past it is nobody's. */
static inline uint64_t space_end(const struct space *s)
{
	return s->base + s->end_ix * s->unit_len;
}

#endif
