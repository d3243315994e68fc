/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Looking at the disks that a power failure could leave.
 *
 * Each is opened: all that was flushed is there, nothing is stale or foreign,
 * our check and, for some, qemu-img's find leaks at worst; and some are written
 * on, to see that nothing in use is handed out.
 *
 * Threads: explore_look(), any thread.
 */
#ifndef TEST_EXPLORE_H
#define TEST_EXPLORE_H

#include "crashfile.h"
#include "ledger.h"
#include "rng.h"
#include "scene.h"

struct explore {
	const struct scene *scene;
	struct crashfile *c;
	struct ledger *ledger;
	struct mutex lock; /* for what follows */
	struct rng rng;
	uint64_t seed; /* of the crash image */
	uint64_t version;
	unsigned image_n, peer_n;
	struct err failed; /* the first thing that was wrong */
};

/* Looks at each sync of `c`, too. */
void explore_init(struct explore *x, const struct scene *scene,
    struct crashfile *c, struct ledger *ledger, uint64_t seed);
/* Look at some disks that a crash would leave now. */
void explore_look(struct explore *x);
/* Fails the test if something was wrong; main thread. */
void explore_assert(struct explore *x);

#endif
