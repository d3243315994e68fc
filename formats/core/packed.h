/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Reading packed units: a small cache of unpacked ones, by host offset.
 *
 * What is cached is valid as long as the host space has not been given to a
 * new owner: packed_forget() comes before that (core/commit.c), and a request
 * puts a unit in only while it is pinned (I1).
 *
 * A unit that several threads want parts of at once is unpacked by one of them.
 * Long units, of more than some MiB stored or unpacked, are not read before
 * they are unpacked: piece by piece where the codec can do that
 * (packed_stream.h), else one unit after the other.
 *
 * Threads: all functions, any thread.
 */
#ifndef IMGD_PACKED_H
#define IMGD_PACKED_H

#include "../driver.h"

struct packed_cache;

struct packed_cache *packed_new(struct err *e);
void packed_free(struct packed_cache *c); /* NULL is allowed */
/*
 * Copy guest bytes [off, off + len) of the unit of `x` to buf if the unit is
 * cached.
 */
bool packed_lookup(struct packed_cache *c, const struct extent *x, void *buf,
    size_t len, uint64_t off);
bool packed_is_long(const struct extent *x);
/*
 * The same from the stored bytes of the unit, which are NULL where that is
 * long; may put it into the cache.
 */
int packed_extract(struct packed_cache *c, const struct extent *x,
    const uint8_t *stored, void *buf, size_t len, uint64_t off, struct err *e);
/* The host range has, or will have, another owner. */
void packed_forget(struct packed_cache *c, uint64_t host, uint64_t len);

#endif
