/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The metadata table cache: pieces of a format's tables, by host offset, with
 * write-back in the order of I3.
 *
 * A table is a piece of metadata of at most TABLE_LEN_MAX bytes at a fixed
 * host offset.  tables_get() gives a reference; what is referenced is never
 * evicted.  Bytes are read under the image's meta lock, shared or exclusive,
 * and changed only under meta exclusive, after tables_change().
 *
 * A commit takes the dirty buffers as they are (meta exclusive, briefly) and
 * writes them without the lock.  A table that changes while its buffer is
 * being written gets a copy of it first: what the commit writes is exactly the
 * state at its start, so nothing newer than the data that the commit synced
 * becomes durable with it (I2).
 *
 * Write order of a commit, a sync between (skipped where nothing was written):
 *   TABLE_COUNT  reference counts, and new tables that nothing on disk points
 *                to yet (tables_new)
 *   TABLE_ROOT   the directory of the reference counts
 *   TABLE_MAP    mapping tables and their directory
 */
#ifndef IMGD_TABLES_H
#define IMGD_TABLES_H

#include <stdbool.h>
#include <stdint.h>

#include "err.h"
#include "lock.h"

#define TABLE_LEN_MAX 65536u

struct hostfile;
struct tables;

enum table_level { TABLE_COUNT = 0, TABLE_ROOT, TABLE_MAP, TABLE_LEVELS };

struct table {
	uint8_t *data; /* see above for when it may be read or changed */
};

/*
 * A cache of at most `max_len` bytes (more while more is referenced or dirty)
 * over `file`.  `meta` is the lock that guards table contents.
 */
struct tables *tables_new_cache(struct hostfile *file, struct rwlock *meta,
    uint64_t max_len, struct err *e);
/* Dirty tables are dropped: commit first.  None may be referenced. */
void tables_free(struct tables *ts);

/*
 * The table of `len` bytes at `host`, read when it is not there.  Another
 * length at the same place is a damaged image: ERR_DAMAGED.  Caller holds
 * meta in either mode.
 */
struct table *tables_get(struct tables *ts, uint64_t host, uint32_t len,
    enum table_level level, struct err *e);
/* A table of zeroes that is not on disk yet, dirty.  meta exclusive. */
struct table *tables_new(struct tables *ts, uint64_t host, uint32_t len,
    enum table_level level, struct err *e);
void tables_put(struct tables *ts, struct table *t); /* NULL is allowed */
/* Announce a change of t->data.  meta exclusive.  t->data may move. */
int tables_change(struct tables *ts, struct table *t, struct err *e);
/*
 * The space [host, host + len) is not metadata any more: drop its tables, dirty
 * or not, so that no late write can hit a new owner.  None is referenced.
 * meta exclusive.
 */
void tables_forget(struct tables *ts, uint64_t host, uint64_t len);
/* The same for all tables of a level. */
void tables_forget_level(struct tables *ts, enum table_level level);

/* Bytes dirty now, for the decision to commit early. */
uint64_t tables_dirty_len(struct tables *ts);
/*
 * Write what is dirty, in order, syncing `file` and, first, `data` (NULL: the
 * same file).  Without locks; one commit at a time.  `mark(arg)` is called
 * under meta exclusive when the dirty buffers are taken.
 */
int tables_commit(struct tables *ts, struct hostfile *data,
    void (*mark)(void *arg), void *arg, struct err *e);
/*
 * The same for a format that changes its tables through a log: what is dirty
 * goes to store(arg), those of a lower level first, else by host offset.  It
 * makes the data and then the tables durable, in this order.  n may be 0.
 */
struct table_piece {
	uint64_t host;
	uint32_t len;
	const uint8_t *data;
};
typedef int tables_store(
    void *arg, const struct table_piece *piece, size_t n, struct err *e);
int tables_commit_through(struct tables *ts, tables_store *store,
    void (*mark)(void *arg), void *arg, struct err *e);
/* Write dirty counts and roots without a sync.  meta exclusive. */
int tables_write_counts(struct tables *ts, struct err *e);

#endif
