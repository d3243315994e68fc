/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A map of guest granules: dirty or not.
 *
 * Granule n is the guest bytes from n << granularity_bits on; the last one may
 * be cut by the end of the disk.  As bytes, granule n is bit n % 8 of byte
 * n / 8: this is how files hold it.
 *
 * Memory goes with what is neither clean nor dirty for long: runs of one kind
 * take next to nothing.
 *
 * Not thread-safe: the owner's lock guards it.
 */
#ifndef IMGD_DIRTYMAP_H
#define IMGD_DIRTYMAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "err.h"

/* To be read by others, changed by the functions below only. */
struct dirtymap {
	uint64_t size; /* guest bytes */
	unsigned granularity_bits;
	uint64_t bits_n; /* granules */
	struct node **top;
	size_t top_n;
};

/* All clean. */
struct dirtymap *dirtymap_new(
    uint64_t size, unsigned granularity_bits, struct err *e);
void dirtymap_free(struct dirtymap *m); /* NULL is allowed */
struct dirtymap *dirtymap_copy(const struct dirtymap *m, struct err *e);

/* Every granule that [off, off + len) touches is dirty.  The range is inside
 * the disk.  -1: out of memory, and some of them are. */
int dirtymap_set(struct dirtymap *m, uint64_t off, uint64_t len, struct err *e);
void dirtymap_clear(struct dirtymap *m);
/* What comes new is clean. */
int dirtymap_resize(struct dirtymap *m, uint64_t size, struct err *e);
/* What is dirty in src is dirty in dst too.  Their disks are of one size, their
 * granularities may differ. */
int dirtymap_merge(
    struct dirtymap *dst, const struct dirtymap *src, struct err *e);

/*
 * Is the granule at `off` dirty?  *run: for how many bytes from `off` on the
 * answer holds, at most len.  The range is inside the disk and not empty.
 */
bool dirtymap_run(
    const struct dirtymap *m, uint64_t off, uint64_t len, uint64_t *run);

/* ---- as bytes ---------------------------------------------------------- */

/* How many bytes hold all granules. */
uint64_t dirtymap_bytes_n(const struct dirtymap *m);
enum dirtymap_kind { DIRTYMAP_CLEAN, DIRTYMAP_DIRTY, DIRTYMAP_MIXED };
/* Are the bytes [pos, pos + n) all zeroes, all ones?  They count as zeroes
 * where there are no granules. */
enum dirtymap_kind dirtymap_kind(
    const struct dirtymap *m, uint64_t pos, uint64_t n);
/* Bytes [pos, pos + n); zeroes past the last granule. */
void dirtymap_get(
    const struct dirtymap *m, uint8_t *buf, size_t n, uint64_t pos);
/* Add what is dirty in those bytes; what lies past the last granule is passed
 * over. */
int dirtymap_add(struct dirtymap *m, const uint8_t *buf, size_t n, uint64_t pos,
    struct err *e);
/* The same for n bytes of ones. */
int dirtymap_add_ones(
    struct dirtymap *m, uint64_t pos, uint64_t n, struct err *e);

#endif
