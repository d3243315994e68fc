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
 * written.  The caller has the image for itself.
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
	uint64_t cl_n;	   /* clusters; also one past the end that is used */

	/* References found; after check_compare() the counts on disk. */
	struct refmap refs;
	/* How often L1 tables point to an L2 table, and the active one alone.
	   By host offset in units of CHECK_L2_UNIT: they may be misplaced. */
	struct refmap l2_all, l2_active;
	unsigned odd_n;	     /* misplaced ones */
	uint8_t *reftable;   /* as in the file */
	uint64_t reftable_n; /* its entries */
	uint64_t end_cl;     /* behind the last cluster in use */
};

/* What is still in memory goes to the file, where checks read. */
int check_settle(struct image *img, struct err *e);
/* A finding that counts as `times` corruptions. */
void check_corrupt(struct check *c, uint64_t times, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* A line, without counting it. */
void check_report(struct check *c, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

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
/* The COPIED flags of what the active L1 table maps. */
int check_copied(struct check *c, struct err *e);

/* check_bitmaps.c */
int check_bitmaps(struct check *c, struct err *e);

/* check_counts.c */
int check_refblocks(struct check *c, struct err *e);
int check_compare(struct check *c, struct err *e);
/* After check_compare(): the count on disk.  1 known, 0 it cannot be read. */
int check_disk_count(
    struct check *c, uint64_t cl, uint64_t *count, struct err *e);

#endif
