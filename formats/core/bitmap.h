/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The dirty bitmaps of an image: what all formats that store them share.
 *
 *            first write                    close, or a change of the list
 *   clean ------------------> in use ------------------------------> clean
 *           (durable first)           (bits durable, then the flag)
 *
 * The file has a clean bitmap, or one marked "in use", whose bits say nothing.
 * An enabled bitmap is marked before the first write can reach the disk; from
 * then on its bits are kept in memory, and stored when the image is closed.  So
 * a crash leaves a bitmap that is known to be inconsistent, never a wrong one.
 *
 * Lock: `lock`, between a guest range and a commit; held while bits are read
 * from the file.  Bitmaps come and go with the gate closed.
 */
#ifndef IMGD_BITMAP_H
#define IMGD_BITMAP_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "dirtymap.h"
#include "err.h"
#include "lock.h"

struct image;

struct bitmap {
	struct bitmap *next; /* in the order of the file */
	char *name;
	unsigned granularity_bits;
	bool enabled;	       /* writes are recorded                         */
	bool inconsistent;     /* can only be removed                         */
	bool marked;	       /* is, or is to be, "in use" in the file       */
	bool changed;	       /* `bits` are newer than the file              */
	struct dirtymap *bits; /* NULL: not read from the file            */
	void *stored; /* of the driver, malloc'd; NULL: not in the file    */
};

enum tracking {
	TRACK_NONE,  /* nothing records writes                        */
	TRACK_FIRST, /* the next write has to mark bitmaps first      */
	TRACK_ON,
};

struct bitmaps {
	struct mutex lock;
	struct bitmap *first, **end;
	size_t n;
	bool listed;  /* the file's list has been read             */
	bool changed; /* the list, or a flag, is newer than the file */
	_Atomic enum tracking tracking;
};

struct bitmap_ops {
	/* Can this image have any (by its version)? */
	bool (*supported)(const struct image *img);
	/*
	 * Those below hold the bitmaps' lock.
	 * list: bitmaps_append() each of the file.
	 * load: set b->bits, for the disk as large as it is.
	 * may_add: could such a one be stored beside those there are?
	 * may_resize: could those there are be stored for such a disk?
	 * mark: mark in the file, durably, each that has `marked`.  Beside
	 *   other requests.
	 * store: the file gets what is in memory, with no marks but those of
	 *   the inconsistent ones: in one step, after everything that it
	 *   needs is durable.  No request is running, all is committed.
	 */
	int (*list)(struct image *img, struct err *e);
	int (*load)(struct image *img, struct bitmap *b, struct err *e);
	int (*may_add)(struct image *img, const char *name,
	    unsigned granularity_bits, struct err *e);
	int (*may_resize)(struct image *img, uint64_t size, struct err *e);
	int (*mark)(struct image *img, struct err *e);
	int (*store)(struct image *img, struct err *e);
};

void bitmaps_init(struct bitmaps *s);
void bitmaps_destroy(struct bitmaps *s);
void bitmap_free(struct bitmap *b);

/* An image has been opened for writing, and is about to be closed. */
int bitmaps_start(struct image *img, struct err *e);
int bitmaps_finish(struct image *img, struct err *e);
static inline enum tracking bitmaps_tracking(const struct bitmaps *s)
{
	return atomic_load_explicit(&s->tracking, memory_order_relaxed);
}
/*
 * Before a change of [off, off + len) when `tracking` is not TRACK_NONE.  The
 * gate is passed.
 */
int bitmaps_track(struct image *img, uint64_t len, uint64_t off, struct err *e);
/* Around a change of the disk's size to `size`, which may fail; the gate is
 * closed. */
int bitmaps_resize_begin(struct image *img, uint64_t size, struct err *e);
int bitmaps_resize_end(struct image *img, uint64_t size, struct err *e);
/* 1 there are some, 0 none, -1 failed. */
int bitmaps_any(struct image *img, struct err *e);

/* Those below hold the lock. */

/* Make sure that the file's list is read. */
int bitmaps_list(struct image *img, struct err *e);
/* One more at the end, without bits. */
struct bitmap *bitmaps_append(struct bitmaps *s, const char *name,
    unsigned granularity_bits, struct err *e);
/* Make sure that the bits are in memory. */
int bitmap_load(struct image *img, struct bitmap *b, struct err *e);
/* -1: it is inconsistent. */
int bitmap_check_usable(const struct bitmap *b, struct err *e);
/* What is newer in memory goes to the file; no request is running. */
int bitmaps_store(struct image *img, struct err *e);

#endif
