/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The inside of the metadata table cache, for tables.c and tables_commit.c.
 *
 * Entries are hashed into shards; a shard's lock (a leaf) guards its chain,
 * its LRU list and the flags of its entries.  The bytes of a table live in a
 * counted buffer: the entry holds one reference, a commit that is writing it
 * holds another.
 */
#ifndef IMGD_TABLES_IMPL_H
#define IMGD_TABLES_IMPL_H

#include <pthread.h>
#include <stdatomic.h>

#include "tables.h"

#define SHARD_N	 8u
#define BUCKET_N 256u

struct buf {
	_Atomic unsigned refs;
	uint8_t data[];
};

struct entry {
	struct table t; /* first: a struct table * is a struct entry * */
	struct buf *buf;
	uint64_t host;
	uint32_t len;
	enum table_level level;
	_Atomic unsigned refs;
	bool dirty;
	bool fresh;   /* nothing on disk points to it: written first */
	bool loading; /* being read; t.data is not valid yet */
	struct entry *chain;
	struct entry *older, *newer; /* LRU list */
};

struct shard {
	struct mutex lock;
	pthread_cond_t loaded;
	struct entry *bucket[BUCKET_N];
	struct entry *oldest, *newest;
	uint64_t len; /* bytes in all entries */
};

struct tables {
	struct hostfile *file;
	struct rwlock *meta;
	uint64_t shard_len_max;
	_Atomic uint64_t dirty_len;
	_Atomic bool failed; /* a commit failed: what is cached must stay */
	struct shard shard[SHARD_N];
};

/* Give up a reference to the bytes of a table. */
void tables_buf_put(struct buf *b);

#endif
