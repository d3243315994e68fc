/* SPDX-License-Identifier: BSD-3-Clause */
/* Random operations on whole sectors, with a ledger of what they leave. */
#ifndef TEST_SCRIPT_H
#define TEST_SCRIPT_H

#include "formats/image.h"
#include "ledger.h"
#include "rng.h"

struct script {
	struct image *img;
	struct ledger *ledger;
	struct rng *rng;
	uint64_t version;  /* of the last stamp */
	uint64_t stride;   /* from one to the next: others use those between */
	uint64_t first, n; /* sectors that are written; n = 0: all */
	unsigned step;
	bool no_packed; /* the image cannot have compressed clusters */
};

/*
 * One operation; the ledger follows.  -1: it failed, and the sectors that it
 * meant may have changed or not.
 */
int script_step(struct script *s, struct err *e);
int script_flush(struct script *s, struct err *e);
/* Does what is written hold what is current?  Sets *e where not. */
int script_verify(struct script *s, struct err *e);
/* n operations on an image that a crash has left: the ledger, a copy, is
 * settled by what that holds. */
int script_go_on(struct script *s, unsigned n, struct err *e);
/* Read the whole disk into a new buffer; NULL on failure. */
uint8_t *script_read(struct image *img, struct err *e);

#endif
