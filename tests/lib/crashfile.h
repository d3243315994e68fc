/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A host file that can lose power.
 *
 * It keeps two states, both sparse in memory: the disk, which has what was
 * synced, and the current one, which programs see.  What was changed since is
 * in a journal.  A crash image is one disk that could be found after a power
 * failure right now: some changes of the journal, others lost, some of them
 * torn, where every sector of 512 bytes is old or new.
 *
 * What the model allows: changes reach the disk in any order and combination.
 * But of the changes of the size only the last ones can be lost, and no other
 * change moves across one.
 *
 * Threads: all functions, any thread.
 */
#ifndef TEST_CRASHFILE_H
#define TEST_CRASHFILE_H

#include <stddef.h>
#include <stdint.h>

#include "formats/host/hostfile.h"

struct crashfile;

/* Empty.  NULL on failure. */
struct crashfile *crashfile_new(struct err *e);
/* Host files from crashfile_host() must be closed before. */
void crashfile_free(struct crashfile *c);
/* The file, for programs: a new reference of the caller's. */
struct hostfile *crashfile_host(struct crashfile *c);

/*
 * Called at each sync, before what it makes durable is durable: the moment for
 * crash images.  `barrier` counts syncs from 0.  It may sync nothing itself.
 */
typedef void crashfile_barrier(
    void *arg, struct crashfile *c, unsigned barrier);
void crashfile_on_sync(struct crashfile *c, crashfile_barrier *fn, void *arg);

/* Syncs that have begun so far. */
unsigned crashfile_barriers(struct crashfile *c);
/* Changes in the journal. */
size_t crashfile_pending(struct crashfile *c);

/*
 * A new file in memory: one crash image.  Seed 0 loses the whole journal, seed
 * 1 nothing; any other picks at random, and always the same for one journal.
 */
struct hostfile *crashfile_image(
    struct crashfile *c, uint64_t seed, struct err *e);

#endif
