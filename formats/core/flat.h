/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Formats with one flat table: guest block n is where entry n says.
 *
 * What such formats (VDI, VHD, VHDX, Parallels) share: looking up, and the
 * driver's part in writing.  A driver's state (img->priv) begins with a struct
 * flat; it fills in the first part, and its functions are calls of these.  A
 * block is block_len guest bytes; in the file it takes space_len bytes, whose
 * first lead_len come before the data.
 *
 * The table is read in pieces through the table cache; entries are changed in
 * the cache and written by the commit.  Which host space is free is found out
 * when a writable image is opened (core/space.h); two blocks that share space
 * are never written in place.
 *
 * I2, I3: a block's data is durable before the entry that points to it, and
 * what an entry gave up is taken again only when that is durable.
 *
 * Locks: those that driver.h names for the driver's functions; flat_move() and
 * those below it: the gate is closed.
 */
#ifndef IMGD_FLAT_H
#define IMGD_FLAT_H

#include "../driver.h"
#include "space.h"
#include "tables.h"

struct flat;

/* What an entry says. */
struct flat_block {
	enum ext_kind kind; /* HOLE, ZERO or DATA; 0: it means nothing */
	uint64_t host;	    /* DATA: where its space begins            */
};

struct flat_ops {
	/* What the entry at p says.  NULL, or what is wrong with it: then kind
	 * is 0.  Whether it lies in the file is not asked here. */
	const char *(*decode)(
	    const struct flat *f, const uint8_t *p, struct flat_block *b);
	void (*encode)(
	    const struct flat *f, uint8_t *p, const struct flat_block *b);
	/* The end of the space has moved: what says so in the file is to be
	 * written before entries.  meta exclusive.  NULL: nothing does. */
	int (*grown)(struct flat *f, struct err *e);
};

struct flat {
	/* Of the driver. */
	struct image *img;
	const struct flat_ops *ops;
	uint64_t table_host;
	uint32_t entry_len; /* divides 4096                                 */
	uint64_t block_n;   /* entries                                      */
	uint32_t block_len;
	uint64_t space_len, lead_len;
	uint64_t unit_len; /* of the space: divides space_len; 0: all of it */
	bool has_zero;	   /* entries can say ZERO                         */
	bool solid;	   /* a hole with nothing below is told as zeroes  */
	bool keeps_data;   /* a block with data stays where it is: zeroes
			      are written and holes punched in place      */

	struct tables *tables;
	struct space space; /* its units: whole blocks, or what divides them */
};

/*
 * After the driver's part is set.  `base`: host byte where blocks begin;
 * `limit`: where they have to end.  The space has no scan yet: all that is
 * there is owned.
 */
int flat_init(struct flat *f, uint64_t base, uint64_t limit, struct err *e);
/* Of a flat that is initialised, or all zero. */
void flat_destroy(struct flat *f);

/* ---- entries ------------------------------------------------------------- */

/* The entry of a block: 0, or -1 with ERR_DAMAGED where it means nothing or
 * points past the end of the file.  meta shared. */
int flat_get(
    struct flat *f, uint64_t block_ix, struct flat_block *b, struct err *e);
/* meta exclusive. */
int flat_put(struct flat *f, uint64_t block_ix, const struct flat_block *b,
    struct err *e);
/*
 * fn for each entry in order; `fault`: what is wrong with it, or NULL (a block
 * past the end of the file has its kind all the same).  fn may change entries.
 * It is work of the image.  No locks: nobody else changes the table.
 */
typedef int flat_fn(struct flat *f, uint64_t block_ix,
    const struct flat_block *b, const char *fault, void *arg, struct err *e);
int flat_each(struct flat *f, flat_fn *fn, void *arg, struct err *e);

/*
 * Blocks that have space, when it is found out who owns what: *n of them so
 * far.  Many more than fit the file are refused: looking at them would take
 * long, and giving each its own space would fill the disk.
 */
int flat_claim(
    struct flat *f, const struct flat_block *b, uint64_t *n, struct err *e);

/* Space for blocks in one piece: at least one, at most most_n, got_n of them.
 * meta exclusive. */
int flat_take(struct flat *f, uint64_t most_n, uint64_t *host, uint64_t *got_n,
    struct err *e);

/* ---- the driver's functions: see driver.h -------------------------------- */

static inline struct flat *flat_of(const struct image *img)
{
	return img->priv;
}

int flat_map(struct image *img, uint64_t guest, uint64_t len, struct extent *x,
    struct err *e);
int flat_reserve(struct image *img, uint64_t guest, uint64_t len,
    uint64_t stored, struct reservation *r, struct err *e);
int flat_publish(struct image *img, const struct reservation *r, struct err *e);
void flat_abandon(struct image *img, const struct reservation *r);
int flat_unmap(struct image *img, uint64_t guest, uint64_t len,
    enum unmap_how how, uint64_t *done, struct err *e);
int flat_release(struct image *img, uint64_t host, uint64_t len, struct err *e);
int flat_commit(struct image *img, struct err *e);
/* A header at 0, the table, and the blocks: other structures are the driver's.
 */
int flat_walk(struct image *img, struct walker *w, uint64_t header_len,
    const char *table, struct err *e);

/* ---- administration ------------------------------------------------------ */

/*
 * Find out who owns what, before the first write or again when everything is
 * committed; `structures` (or NULL) claims what is not a block's.
 */
int flat_scan(struct flat *f, int (*structures)(struct flat *f, struct err *e),
    struct err *e);
/* The table is elsewhere or has another length; everything is committed. */
void flat_use_table(struct flat *f, uint64_t host, uint64_t block_n);
/*
 * Blocks whose space begins in [from, to) go elsewhere; the table is committed.
 * Nothing is put there; what is free there is owned now.
 */
int flat_move(struct flat *f, uint64_t from, uint64_t to, struct err *e);
/*
 * Blocks from the end go to what is free below it.  The space ends where the
 * last one does; the file is not cut yet.  The units are whole blocks.
 */
int flat_compact(struct flat *f, struct err *e);

/* ---- check --------------------------------------------------------------- */

struct flat_check {
	struct flat *f;
	struct img_check *out;
	void (*report)(void *, const char *); /* or NULL */
	void *arg;
	bool repair;
	uint64_t claimed_n; /* see flat_claim()                        */
	uint64_t fixed_n;   /* entries that the repair has changed     */
	uint64_t end;	    /* host byte: of the last block's space    */
	uint64_t hole_n;    /* blocks' spaces free below that          */
	uint64_t tail_n;    /* and past it                             */
	uint64_t last_host; /* where the block before ended; 0: none   */
};

/*
 * Look at all entries, and count in out: those that mean nothing, point past
 * the end, or share space are corruptions.  Space that nobody has is told to
 * the driver, who knows whether it is a leak.
 * It is the scan of f->space too: `structures` claims what is not a block's.
 * With `repair` a bad entry becomes a hole, and a block that shares space gets
 * a copy of its own; what was found stays counted, *fixed_n says how much of
 * it was repaired, and the caller commits.
 */
int flat_check(struct flat_check *c,
    int (*structures)(struct flat *f, struct err *e), struct err *e);
/* The end of a repair: what the driver's check finds now, and how much less
 * that is than what was *found. */
int flat_check_again(struct image *img, const struct img_check *found,
    struct img_check *out, struct err *e);
/* A line for the user, and one more in *count, unless NULL. */
void flat_report(struct flat_check *c, uint64_t *count, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

#endif
