/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A host file over another one in which one chosen call waits until the test
 * lets it go: the means to script an interleaving.
 */
#ifndef TEST_HOLD_H
#define TEST_HOLD_H

#include "faultfile.h"
#include "formats/core/lock.h"

struct hold {
	struct mutex lock;
	pthread_cond_t changed;
	unsigned kinds; /* FAULT_*: of the call that will be held; 0 none */
	uint64_t off, len;
	bool held; /* one is waiting */
	uint64_t held_off, held_len;
};

/* The file, a faultfile over `under`, whose reference it takes over. */
struct hostfile *hold_new(struct hold *h, struct hostfile *under);
/* Hold the next call of these kinds that touches [off, off + len). */
void hold_arm(struct hold *h, unsigned kinds, uint64_t off, uint64_t len);
/* Wait until it has come.  Fails the test when it does not. */
void hold_wait(struct hold *h);
bool hold_has_one(struct hold *h);
void hold_release(struct hold *h);

#endif
