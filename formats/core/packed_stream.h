/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Reading packed units that are too long to be held in memory: they are
 * unpacked piece by piece, and what came last stays in a window, from which
 * threads that read on from there take it, each its part.
 *
 * Who reads before the window has the unit unpacked from its start.
 *
 * Threads: all functions, any thread.
 */
#ifndef IMGD_PACKED_STREAM_H
#define IMGD_PACKED_STREAM_H

#include "../driver.h"

struct packed_streams;

struct packed_streams *packed_streams_new(struct err *e);
void packed_streams_free(struct packed_streams *p); /* NULL is allowed */
/* Guest bytes [off, off + len) of the unit of `x`, whose codec can stream. */
int packed_streams_read(struct packed_streams *p, const struct extent *x,
    void *buf, size_t len, uint64_t off, struct err *e);
/* The host range has, or will have, another owner: no request is there. */
void packed_streams_forget(
    struct packed_streams *p, uint64_t host, uint64_t len);

#endif
