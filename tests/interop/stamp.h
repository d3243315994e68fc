/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a disk may hold after a run of requests and a crash.
 *
 * The model is the list of requests that changed the disk, in the order in
 * which they were sent.  Requests that overlap are never under way at the same
 * time, so each sector has its own order.  A write leaves in each of its
 * sectors a stamp: the number of the request and of the sector, over and over.
 *
 * Terms: a request is acknowledged when its answer came; `ack` numbers the
 * answers 1, 2, ...  It is durable when a flush that was sent after its answer
 * was acknowledged, or at its own answer if it had FUA.
 *
 * Invariant checked: a sector holds the value of its last acknowledged write
 * or zero (after a crash: the last durable one), or that of a later request.  A
 * trim may leave zeroes, or what was there.
 */
#ifndef IMGD_TEST_STAMP_H
#define IMGD_TEST_STAMP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SECTOR 512

enum stamp_kind { STAMP_WRITE = 'W', STAMP_ZERO = 'Z', STAMP_TRIM = 'T' };

struct stamp_op {
	enum stamp_kind kind;
	bool fua;
	uint32_t first, n; /* sectors                           */
	uint32_t ack;	   /* 0: not acknowledged, or lost in a crash */
	uint32_t *prev;	   /* for each sector: the op before, or UINT32_MAX */
};

struct stamp_model {
	uint32_t sectors_n;
	uint32_t acks_n;  /* answers so far                    */
	uint32_t durable; /* all up to this answer are durable */
	struct stamp_op *ops;
	uint32_t ops_n, ops_max;
	uint32_t *last; /* for each sector: its newest op          */
};

/* A disk that holds stamps, or zeroes, in all sectors. */
struct stamp_model *stamp_new(uint32_t sectors_n, enum stamp_kind kind);
/* From and to a file of text.  All of these end the program on an error. */
struct stamp_model *stamp_load(const char *path);
void stamp_save(const struct stamp_model *m, const char *path);
void stamp_free(struct stamp_model *m);

/* A new request; its number. */
uint32_t stamp_add(struct stamp_model *m, enum stamp_kind kind, bool fua,
    uint32_t first, uint32_t n);
void stamp_acked(struct stamp_model *m, uint32_t op_ix);
/* A flush that was sent after `ack` answers was acknowledged. */
void stamp_flushed(struct stamp_model *m, uint32_t ack);
/* The server was killed: what was not durable may be lost. */
void stamp_crashed(struct stamp_model *m);

/* The bytes that request op_ix writes to a sector. */
void stamp_fill(uint8_t *buf, uint32_t op_ix, uint32_t sector);
/* May the sector hold these bytes?  If not, says why on stderr. */
bool stamp_check(
    const struct stamp_model *m, const uint8_t *buf, uint32_t sector);

#endif
