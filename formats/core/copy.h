/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The copy engine's parts: the plan (what is to be done, in order), the target
 * (how it is written), and the engine that runs both in several threads.
 *
 * Offsets called `pos` are bytes of the job: 0 is the first byte copied,
 * `guest` ones are of the target.
 */
#ifndef IMGD_COPY_H
#define IMGD_COPY_H

#include "../codec/codec.h"
#include "../driver.h"
#include "write.h"
#include "zero.h"

/*
 * Bytes handed to a worker at once, or one unit where that is longer: what it
 * reads is still in the cache of its processor when it writes.
 */
#define COPY_CHUNK     (512u * KiB)
#define COPY_CHUNK_MAX (4u * MiB) /* for long packed units of the source */
#define SHARE_CHUNK    (8u * MiB) /* where nothing needs to be read */
#define COPY_UNIT_MAX  (2u * MiB) /* of units that are packed */

/* ---- plan -------------------------------------------------------------- */

enum copy_kind {
	COPY_DATA, /* read it and see                                      */
	COPY_ZERO, /* reads as zeroes                                      */
	COPY_SKIP, /* stays as it is in the target                         */
};

struct copy_run {
	enum copy_kind kind;
	uint64_t pos, len; /* len > 0 */
	struct image *src;
	uint64_t src_off; /* guest byte of src */
};

struct copy_plan {
	const struct img_copy *job;
	uint64_t total; /* bytes of the job                             */
	uint64_t pos;	/* of the next run                              */
	uint64_t grain; /* runs end at multiples of it in the target    */
	uint32_t chunk; /* DATA runs do not cross multiples of it       */
	unsigned shared_depth; /* layers from here on down stay unallocated */
	bool target_zero;      /* the target reads as zeroes             */
	bool share;	       /* blocks of some source can be shared    */
	size_t src_ix;
	uint64_t src_off;    /* in that source                          */
	struct img_extent x; /* of that source; len 0: not known        */
};

int copy_plan_init(
    struct copy_plan *p, const struct img_copy *job, struct err *e);
/* 1 a run, 0 the end, -1 failed.  One thread at a time. */
int copy_plan_next(struct copy_plan *p, struct copy_run *run, struct err *e);

/* ---- chunks ------------------------------------------------------------ */

/*
 * A part of a chunk's data, on its way to the target: into its own reservation
 * (plain or packed), or with write_range().
 */
struct copy_piece {
	bool reserved;
	struct reservation r; /* where reserved */
	uint64_t guest, len;
};

/* What one worker has in its hands; nobody else touches it. */
struct copy_chunk {
	const struct img_copy *job;
	bool target_zero; /* zeroes need not be written              */
	bool share;	  /* blocks, where that can be done          */
	struct hostfile *share_src; /* asked last, and the answer       */
	uint32_t share_unit;
	struct copy_run run; /* kind DATA                               */
	uint64_t guest;	     /* where it goes                           */
	uint8_t *buf;	     /* the guest bytes: the plan's chunk       */
	bool loaded;	     /* buf holds them                          */
	uint8_t *packed;     /* one unit, where the job packs           */
	size_t packed_len;   /* of this chunk; 0: it is stored plain    */
	struct codec_ctx *codec;
	struct zero_run *part; /* data and zeroes, in whole units       */
	size_t part_n;
	struct copy_piece *piece; /* what is on its way                 */
	size_t n, max;
};

int copy_chunk_init(
    struct copy_chunk *c, const struct copy_plan *plan, struct err *e);
void copy_chunk_clear(struct copy_chunk *c);
void copy_chunk_begin(struct copy_chunk *c, const struct copy_run *run);
/* Is it made of whole units of the target?  Its end may cut the last one. */
bool copy_chunk_whole(const struct copy_chunk *c);
/* Read it from the source; to salvage, sector by sector where that fails. */
int copy_load(struct copy_chunk *c, struct err *e);
/* Tell data from zeroes, once it is loaded; before that all is data. */
void copy_find_zeroes(struct copy_chunk *c);
/* Pack it, if the job packs and it is a whole unit that shrinks. */
int copy_pack(struct copy_chunk *c, struct err *e);

/*
 * The steps of writing, inside write_enter() and write_leave(): copy_reserve()
 * in the order of the chunks, since it decides where things go; then
 * copy_store() in any order.  What fails gives up all its reservations.  A
 * chunk that is not loaded is shared or copied in the kernel, and loaded where
 * that cannot be done; it has to be made of whole units.
 */
int copy_reserve(struct copy_chunk *c, struct err *e);
int copy_store(struct copy_chunk *c, struct err *e);
/* Make a part of the target read as zeroes, if it does not yet. */
int copy_zero(
    const struct img_copy *job, uint64_t len, uint64_t guest, struct err *e);

/* Can a file of a source and that of the target share blocks? */
bool copy_share_possible(const struct img_copy *job);
/* Can the whole chunk be shared, as far as the mapping of the source tells? */
bool copy_share_wanted(struct copy_chunk *c);
/* A piece without copy_load(): 1 done, 0 it cannot be done, -1 failed. */
int copy_in_kernel(
    struct copy_chunk *c, const struct copy_piece *piece, struct err *e);

#endif
