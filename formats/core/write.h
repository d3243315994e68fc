/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The three steps of an allocating write, for the core's own pipelines (copy,
 * preallocation): reserve, write the data, publish; or abandon (I7).
 *
 * Each takes the meta lock itself.  The caller is between request_enter() and
 * request_leave() and holds the guest range, or is the only user of the image.
 */
#ifndef IMGD_WRITE_H
#define IMGD_WRITE_H

#include "../driver.h"

/*
 * A request on a writable image: gate, epoch, guest range (whole units around
 * [off, off + len)).  -1 when the image is FAILED or not writable.
 */
struct write_guard {
	unsigned pin;
	struct range range;
};
int write_enter(struct image *img, struct write_guard *g, uint64_t len,
    uint64_t off, struct err *e);
/* 1 entered; 0 it would have to wait; -1 as write_enter(). */
int write_tryenter(struct image *img, struct write_guard *g, uint64_t len,
    uint64_t off, struct err *e);
void write_leave(struct image *img, struct write_guard *g);

/* The driver knows of the first change before it can be seen; one of the size
 * is one too. */
int write_announce(struct image *img, struct err *e);

/* May these bytes be overwritten where they are? */
bool extent_in_place(const struct extent *x);
/* The same, and are the host's bytes those of the guest? */
bool extent_plain(const struct extent *x);
/* Is every write durable at once (cache mode)? */
bool image_writes_through(const struct image *img);

/* Space for the start of [guest, guest + len); see driver.h.  r->guest may
 * be below `guest`, and r->len go past it, by less than a unit.  In an
 * encrypted image it does not read as zeroes. */
int write_reserve(struct image *img, uint64_t guest, uint64_t len,
    uint64_t stored, struct reservation *r, struct err *e);
/* On failure the image is FAILED. */
int write_publish(
    struct image *img, const struct reservation *r, struct err *e);
void write_abandon(struct image *img, const struct reservation *r);

/* One extent of the top layer, for a writer: on live metadata it is an error,
 * and the image is FAILED (I4). */
int write_map(struct image *img, uint64_t guest, uint64_t len, struct extent *x,
    struct err *e);
int write_damaged(struct image *img, const struct extent *x, struct err *e);
/* What follows every write, without the guard: durability where asked, memory
 * bounds. */
int write_done(struct image *img, unsigned flags, struct err *e);

/* 0 when units of the image can be written packed; else the error says why. */
int write_packs(const struct image *img, struct err *e);
/* Write with the guard held: img_pwrite() without its entry checks. */
int write_range(struct image *img, const void *buf, size_t len, uint64_t off,
    struct err *e);
/* Make [off, off + len) read as zeroes, whatever will be below; with the guard
 * held. */
int zero_range(struct image *img, uint64_t len, uint64_t off, unsigned flags,
    struct err *e);

#endif
