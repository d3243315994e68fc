/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Formats with two levels of tables and no reference counts (QED, QCOW): the
 * directory has the host offsets of tables, a table one entry for each cluster.
 *
 *   guest -> directory entry -> table entry -> host bytes
 *
 * A cluster of data has one owner and is written in place.  What is free is
 * not recorded (see space.h); packed clusters lie side by side at any byte, and
 * their space is not given back.
 *
 * An entry may point to where the file has no bytes: its end was cut off.  What
 * is written later takes that place, and must not be taken for what was lost.
 * So the entries of a table's piece are held against the length that the file
 * had at first, until the piece is changed here: it is, only when none of them
 * points past that.
 *
 * Order of a commit (I2, I6): the data and new tables, sync; changed tables
 * (TABLE_ROOT), sync; the directory (TABLE_MAP), sync.  So a crash leaves
 * clusters without owner at worst.
 *
 * Locks: as driver.h says for the functions of the same name.
 */
#ifndef IMGD_TWOLEVEL_H
#define IMGD_TWOLEVEL_H

#include "../driver.h"
#include "clusterset.h"
#include "space.h"
#include "tables.h"

/* What an entry says. */
struct twolevel_entry {
	enum ext_kind kind;
	uint64_t host;	 /* of the cluster, or of the packed bytes */
	uint32_t stored; /* bytes, of a packed cluster             */
};

/* Of a format; its private data begins with it. */
struct twolevel {
	/* Set by the format before twolevel_open(). */
	uint64_t dir_host, dir_n; /* host byte; entries                     */
	uint64_t table_n;	  /* entries of a table; a power of two     */
	uint64_t table_align;	  /* of host offsets of tables and clusters */
	uint32_t cluster_len;	  /* bytes; a power of two                  */
	uint64_t head_len;	  /* bytes from 0 that are the header's     */
	uint64_t name_host, name_len; /* more of them; 0: none              */
	bool big_endian;
	bool has_zero; /* there are entries for zeroes */
	void (*decode)(const struct image *img, uint64_t entry,
	    struct twolevel_entry *out);
	/* Of DATA, ZERO or PACKED; HOLE is 0. */
	uint64_t (*encode)(
	    const struct image *img, const struct twolevel_entry *n);
	/* Before metadata changes; meta exclusive.  NULL: nothing to do. */
	int (*touch)(struct image *img, struct err *e);

	/* Kept by the functions below. */
	struct tables *tables;
	struct space space;
	struct clusterset meta; /* clusters of tables, when writable */
	uint64_t first_end;	/* host byte: the end of the space at first */
	struct clusterset ours; /* pieces of tables that were changed */
	uint64_t packed_host;	/* where packed bytes go on; 0: nowhere */
};

static inline struct twolevel *twolevel_of(const struct image *img)
{
	return img->priv;
}

/* Guest bytes that one table maps. */
static inline uint64_t twolevel_span(const struct twolevel *t)
{
	return t->table_n * t->cluster_len;
}

/* For the driver's open() and close().  The directory lies in the file. */
int twolevel_open(struct image *img, struct err *e);
void twolevel_close(struct image *img);
/* For start(), of a writable image that is not only checked: finds out where
 * the tables are (I4). */
int twolevel_start(struct image *img, struct err *e);

int twolevel_map(struct image *img, uint64_t guest, uint64_t len,
    struct extent *x, struct err *e);
int twolevel_reserve(struct image *img, uint64_t guest, uint64_t len,
    uint64_t stored, struct reservation *r, struct err *e);
int twolevel_publish(
    struct image *img, const struct reservation *r, struct err *e);
void twolevel_abandon(struct image *img, const struct reservation *r);
int twolevel_unmap(struct image *img, uint64_t guest, uint64_t len,
    enum unmap_how how, uint64_t *done, struct err *e);
int twolevel_release(
    struct image *img, uint64_t host, uint64_t len, struct err *e);
int twolevel_commit(struct image *img, struct err *e);

/*
 * The gate is closed and everything is committed.
 * move_dir: a directory of `dir_n` entries, not fewer, in new space, durable:
 *   the header may name it.
 * trim_dir: the entries from `dir_n` on are gone, with their tables.
 * end_dir: the header names no more entries than that.
 * empty: every cluster is a hole, and the file ends behind the directory.
 */
int twolevel_move_dir(struct image *img, uint64_t dir_n, struct err *e);
int twolevel_trim_dir(struct image *img, uint64_t dir_n, struct err *e);
int twolevel_end_dir(struct image *img, uint64_t dir_n, struct err *e);
int twolevel_empty(struct image *img, struct err *e);

int twolevel_check(struct image *img, struct img_check *out,
    void (*report)(void *, const char *), void *arg, struct err *e);
int twolevel_repair(struct image *img, enum img_repair what,
    struct img_check *out, void (*report)(void *, const char *), void *arg,
    struct err *e);

/* Space for `len` bytes that are the header's; and given back.  The gate is
 * closed. */
int twolevel_take_room(
    struct image *img, uint64_t len, uint64_t *host, struct err *e);
int twolevel_give_room(
    struct image *img, uint64_t host, uint64_t len, struct err *e);

/*
 * What an image of `size` bytes takes whose clusters begin at host byte
 * `start`, of which `t` has table_n and cluster_len; `made`: the file's length
 * without any.
 */
int twolevel_measure(const struct twolevel *t, uint64_t start, uint64_t made,
    uint64_t size, struct image *src, struct img_measure *out, struct err *e);

/* ---- shared by the files of this module ---------------------------------- */

#define TWOLEVEL_SLICE_LEN 4096u

/* Host bytes of a table. */
static inline uint64_t twolevel_table_len(const struct twolevel *t)
{
	return t->table_n * 8;
}
/* Host bytes of the clusters that a table takes. */
static inline uint64_t twolevel_table_room(const struct twolevel *t)
{
	return round_up(twolevel_table_len(t), t->cluster_len);
}
/* A piece of the directory or of a table, with entry `ix`: *at is its place. */
struct table *twolevel_dir(
    struct image *img, uint64_t ix, uint8_t **at, struct err *e);
struct table *twolevel_table(struct image *img, uint64_t table_host,
    uint64_t ix, uint8_t **at, struct err *e);
uint64_t twolevel_get(const struct twolevel *t, const uint8_t *at);
void twolevel_put(const struct twolevel *t, uint8_t *at, uint64_t entry);
/* Host offset of the table of that index, checked; 0: there is none. */
int twolevel_table_host(
    struct image *img, uint64_t dir_ix, uint64_t *host, struct err *e);
/*
 * Entries of the directory from ix on that the file has no space for: a large
 * one of a small file is looked at in no time.  Everything is committed.
 */
int twolevel_dir_hole(
    struct image *img, uint64_t ix, uint64_t *n, struct err *e);
/* Can there be a table at this host offset? */
bool twolevel_table_ok(const struct twolevel *t, uint64_t host);
/* Does the entry point where data can be, before host byte `end`?  HOLE and
 * ZERO always do. */
bool twolevel_entry_ok(
    const struct twolevel *t, const struct twolevel_entry *n, uint64_t end);
/* Index of the piece of a table that has the entry of that guest offset. */
uint64_t twolevel_piece_ix(const struct twolevel *t, uint64_t guest);
/* Host byte: no entry of that piece may point past it. */
uint64_t twolevel_piece_end(const struct twolevel *t, uint64_t piece_ix);

#endif
