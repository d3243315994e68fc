/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Repairing a qcow2 image: what its parts share.
 *
 * Find what is wrong; drop entries that mean nothing; put the reference counts
 * right, in their place or as a new structure in new space; then the COPIED
 * flags; look again, and if all is well say so in the header.
 *
 * Each step is durable before the next one begins, so that a crash leaves the
 * image between two of them: counts are raised first and lowered last, after
 * what referred to the space is gone (I3), and no write overlaps a structure
 * that is not what is repaired (I4).
 */
#ifndef IMGD_QCOW2_REPAIR_H
#define IMGD_QCOW2_REPAIR_H

#include "check.h"

/* repair_snapshots.c */
/* The snapshot table as it should be, of *len bytes, *n entries; free() it. */
uint8_t *repair_snapshots(
    struct check *c, uint64_t *len, uint32_t *n, struct err *e);

/* repair_entries.c: after check_run() */
/* Entries of tables that mean nothing, or less than they say. */
int repair_entries(struct check *c, struct err *e);

/* repair_counts.c: after check_references() */
/* Counts that are too low, or else those that are too high, in their place. */
int repair_counts(struct check *c, bool raise, struct err *e);

/* The clusters of the counts themselves, as the header has them. */
int repair_add_counts(struct check *c, struct refmap *m, struct err *e);

/* rebuild.c */
/* Before check_mapping(): what the new structure must know of is counted. */
void repair_widen(struct check *c);
/* After it, and check_load_reftable() */
/*
 * Count everything in a new structure, in new space, and make the header name
 * it; the old one's space is free then.  With c->new_snapshots the same goes
 * for the snapshot table.
 */
int repair_rebuild(struct check *c, struct err *e);

#endif
