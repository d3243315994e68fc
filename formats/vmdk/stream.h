/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The inside of a stream-optimized extent that is written, or whose footer is
 * missing: its tables are in memory.
 */
#ifndef IMGD_VMDK_STREAM_H
#define IMGD_VMDK_STREAM_H

#include "vmdk.h"

#define VMDK_STREAM_GD_N_MAX                                                   \
	(4u << 20) /* tables in memory: 128 TiB of disk                        \
		    */

/* One grain table. */
struct vmdk_gt {
	uint32_t sector; /* of its place in the file; 0: it has none yet */
	bool changed;	 /* what is there is not right */
	uint32_t entry[];
};

struct vmdk_stream {
	struct vmdk_gt **gt; /* by index in the directory; NULL: empty */
	uint64_t end;	     /* host byte where the next grain goes */
	uint64_t current;    /* table of the last reserve; UINT64_MAX: none */
	bool open;	     /* the file has no valid footer */
	bool begun;	     /* nothing is behind `end` */
};

struct vmdk_stream *vmdk_stream_new(struct vmdk_extent *x, struct err *e);
void vmdk_stream_delete(struct vmdk_stream *s, uint64_t gd_n);
/* The header says that the file is not closed, and what follows the grains is
 * cut off. */
int vmdk_stream_begin(struct vmdk_extent *x, struct err *e);
/* The table that a grain belongs to, made if need be. */
struct vmdk_gt *vmdk_stream_gt(struct vmdk_extent *x, struct vmdk_stream *s,
    uint64_t gd_ix, struct err *e);

/* What follows a marker of a table: bytes. */
static inline uint64_t vmdk_table_room(const struct vmdk_extent *x)
{
	return round_up(x->gt_len, SECTOR_LEN);
}
static inline uint64_t vmdk_gd_room(const struct vmdk_extent *x)
{
	return round_up(x->gd_n * 4, SECTOR_LEN);
}

/*
 * Read the tables from the markers of the stream.  `whole`: it was finished,
 * and every marker has to be right; else what makes no sense is passed over,
 * and a grain counts when it unpacks.
 */
int vmdk_stream_scan(
    struct vmdk_extent *x, struct vmdk_stream *s, bool whole, struct err *e);
/* The host byte where the grains from split_ix on begin, or would; refused when
 * others lie behind one of them. */
int vmdk_stream_find(struct vmdk_extent *x, bool whole, uint64_t split_ix,
    uint64_t *host, struct err *e);

#endif
