/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Checking a qcow2 image: what its parts share.
 *
 * Three steps.  Count the references to each cluster, structure by structure;
 * a table that many others point to is read once, and its entries count that
 * many times.  Compare with the reference counts in the file.  Look at the
 * COPIED flags, which repeat what those counts say.
 *
 * What is wrong in the image is a finding: it is reported, counted in `out`,
 * and the check goes on.  Only the system's failures make it stop.  Nothing is
 * written, unless a repair (repair.h) asks for it.  The caller has the image
 * for itself.
 */
#ifndef IMGD_QCOW2_CHECK_H
#define IMGD_QCOW2_CHECK_H

#include "qcow2.h"
#include "refmap.h"
#include "spans.h"

#define CHECK_L2_UNIT 512u

struct check {
	struct image *img;
	const struct qcow2 *q;
	struct img_check *out;
	void (*report)(void *arg, const char *line); /* may be NULL */
	void *arg;
	uint64_t file_len; /* bytes */
	/* References behind it are findings, and not counted. */
	uint64_t count_len;
	uint64_t cl_n; /* clusters; also one past the end that is used */

	/* References found; after check_compare() the counts on disk. */
	struct refmap refs;
	/* How often L1 tables point to an L2 table, and the active one alone.
	   By host offset in units of CHECK_L2_UNIT: they may be misplaced. */
	struct refmap l2_all, l2_active;
	unsigned odd_n; /* misplaced ones */
	/* For a repair: references by structures other than the L2 tables, the
	   data and the counts.  What they hold must not be written over. */
	struct refmap structures;
	uint8_t *reftable;     /* as in the file */
	uint64_t reftable_n;   /* its entries */
	uint64_t entries_host; /* of the table that check_entries() reads */
	uint64_t end_cl;       /* behind the last cluster in use */

	uint64_t copied_n;  /* corruptions that are wrong COPIED flags */
	bool rebuild;	    /* the counts cannot be put right in their place */
	bool outside;	    /* a block of counts lies behind the file */
	bool uncounted;	    /* something in use has a count of 0 */
	bool unknown;	    /* what the bitmaps use cannot be told */
	bool snapshots_bad; /* their table can be written anew */
	bool salvage;	    /* read what can be read of that table */
	bool new_snapshots; /* it will be replaced: it has no space */
	bool repair;	    /* keep what a repair needs to know */
	bool fix_copied;    /* wrong COPIED flags are put right */
	uint64_t flags_n;   /* that were put right */
};

/* Ready for check_run(); free with check_end(), also on failure. */
int check_begin(struct check *c, struct image *img, struct img_check *out,
    void (*report)(void *, const char *), void *arg, struct err *e);
void check_end(struct check *c);
int check_load_reftable(struct check *c, struct err *e);
/* The three steps. */
int check_run(struct check *c, struct err *e);
/* The first one, without the reference counts' own space, and with it. */
int check_mapping(struct check *c, struct err *e);
int check_references(struct check *c, struct err *e);

/* What is still in memory goes to the file, where checks read. */
int check_settle(struct image *img, struct err *e);
/* A finding that counts as `times` corruptions. */
void check_corrupt(struct check *c, uint64_t times, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* A line, without counting it. */
void check_report(struct check *c, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

/* A change to a table at `host`: within a sector, so never torn. */
int check_put(struct check *c, uint64_t host, uint64_t entry, struct err *e);

/* [host, host + len) is in use, `times` times. */
int check_count(struct check *c, uint64_t host, uint64_t len, uint64_t times,
    struct err *e);
/* Read; what is past the end of the file is zeroes. */
int check_read(
    struct check *c, void *buf, uint64_t len, uint64_t host, struct err *e);
/* Each big-endian 64-bit entry of a table, in large pieces. */
typedef int check_entry_fn(struct check *c, uint64_t ix, uint64_t entry,
    uint64_t times, struct err *e);
int check_entries(struct check *c, uint64_t host, uint64_t n, uint64_t times,
    check_entry_fn *fn, struct err *e);

/* check_l2.c: after all L1 tables were read */
int check_l2_tables(struct check *c, struct err *e);

/* One L2 table at hand. */
struct check_l2 {
	uint64_t host;
	uint8_t *data;
	uint64_t times, active; /* references: all, from the active L1 table */
	uint64_t next;		/* where contiguous data would go on; 0: any */
	uint32_t dirty, dirty_end; /* bytes that changed, to be written */
};
typedef int check_l2_fn(struct check *c, struct check_l2 *t, struct err *e);
/* All of a map, in the order of their place; what fn changes is written. */
int check_each_l2(
    struct check *c, struct refmap *m, check_l2_fn *fn, struct err *e);
void check_l2_get(const struct check *c, const struct check_l2 *t, uint32_t ix,
    struct qcow2_entry *n);
void check_l2_put(const struct check *c, struct check_l2 *t, uint32_t ix,
    const struct qcow2_entry *n);
/* May this table be written?  Not where another structure lies. */
bool check_l2_alone(struct check *c, const struct check_l2 *t);
/* Does the entry hold data that a reader would see? */
bool check_shows_data(const struct check *c, const struct qcow2_entry *n);
static inline bool check_data_file(const struct check *c)
{
	return c->q->h.incompatible & QCOW2_I_DATA_FILE;
}

/* check_copied.c: after check_compare() */
/* May this entry of the active L1 table be written? */
bool check_l1_alone(struct check *c, uint64_t ix);
int check_copied(struct check *c, struct err *e);

/* check_bitmaps.c */
/* After check_mapping(): table entries that are not valid say from now on that
 * everything is dirty, which is never wrong. */
int check_mend_bitmaps(struct check *c, struct err *e);
int check_bitmaps(struct check *c, struct err *e);

/* check_counts.c */
uint64_t check_count_max(const struct check *c);
/* Entry of the reftable; 0 past its end. */
uint64_t check_block_entry(const struct check *c, uint64_t block_ix);
int check_refblocks(struct check *c, struct err *e);
int check_compare(struct check *c, struct err *e);
/* After check_compare(): the count on disk.  1 known, 0 it cannot be read. */
int check_disk_count(
    struct check *c, uint64_t cl, uint64_t *count, struct err *e);

#endif
