/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Two disks side by side: what can be told about them without reading.
 *
 * Past its end a disk is zero.  One thread at a time.
 */
#ifndef IMGD_SIDES_H
#define IMGD_SIDES_H

#include "../driver.h"

struct side {
	struct image *img; /* NULL: all zeroes */
	uint64_t size;
	struct img_extent x; /* at the current position; len 0: not known */
};

struct sides {
	struct side side[2];
	uint64_t pos;
};

/* At position 0. */
void sides_init(struct sides *s, struct image *a, struct image *b);
/* Make side i known at the current position. */
int sides_look(struct sides *s, unsigned i, struct err *e);
/*
 * Both are known: are they equal at the current position, both zero or both the
 * same host bytes?  *len: how far the answer goes, at most `max`.
 */
bool sides_equal(struct sides *s, uint64_t max, uint64_t *len);
void sides_move(struct sides *s, uint64_t len);

#endif
