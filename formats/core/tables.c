/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The metadata table cache: see tables.h; its write-back is tables_commit.c.
 *
 * An entry is evicted only when nobody refers to it, it is clean, and no
 * commit holds its buffer: what is re-read from the file later is then what
 * was in the cache.
 */
#include <assert.h>
#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "../host/hostfile.h"
#include "tables_impl.h"
#include "units.h"

struct tables *tables_new_cache(
    struct hostfile *file, struct rwlock *meta, uint64_t max_len, struct err *e)
{
	struct tables *ts = calloc(1, sizeof *ts);

	if (!ts) {
		err_nomem(e);
		return NULL;
	}
	ts->file = file;
	ts->meta = meta;
	ts->shard_len_max = max_len / SHARD_N;
	for (unsigned i = 0; i < SHARD_N; i++) {
		mutex_init(&ts->shard[i].lock);
		lock_must(pthread_cond_init(&ts->shard[i].loaded, NULL));
	}
	return ts;
}

void tables_buf_put(struct buf *b)
{
	if (atomic_fetch_sub(&b->refs, 1) == 1)
		free(b);
}

static struct buf *buf_new(uint32_t len, struct err *e)
{
	struct buf *b = malloc(sizeof *b + len);

	if (b)
		atomic_init(&b->refs, 1);
	else
		err_nomem(e);
	return b;
}

static void entry_free(struct entry *n)
{
	tables_buf_put(n->buf);
	free(n);
}

void tables_free(struct tables *ts)
{
	if (!ts)
		return;
	for (unsigned i = 0; i < SHARD_N; i++) {
		struct shard *s = &ts->shard[i];
		struct entry *n = s->oldest, *newer;

		for (; n; n = newer) {
			newer = n->newer;
			assert(!n->refs);
			entry_free(n);
		}
		pthread_cond_destroy(&s->loaded);
		mutex_destroy(&s->lock);
	}
	free(ts);
}

static uint64_t hash(uint64_t host)
{
	return ((host >> 9) * 0x9e3779b97f4a7c15ull) >> 40;
}

static struct shard *shard_of(struct tables *ts, uint64_t host)
{
	return &ts->shard[hash(host) % SHARD_N];
}

static struct entry **bucket_of(struct shard *s, uint64_t host)
{
	return &s->bucket[hash(host) / SHARD_N % BUCKET_N];
}

static void lru_remove(struct shard *s, struct entry *n)
{
	*(n->older ? &n->older->newer : &s->oldest) = n->newer;
	*(n->newer ? &n->newer->older : &s->newest) = n->older;
}

static void lru_add(struct shard *s, struct entry *n)
{
	n->newer = NULL;
	n->older = s->newest;
	*(s->newest ? &s->newest->newer : &s->oldest) = n;
	s->newest = n;
}

static struct entry *find(struct shard *s, uint64_t host)
{
	struct entry *n = *bucket_of(s, host);

	while (n && n->host != host)
		n = n->chain;
	return n;
}

static void add(struct shard *s, struct entry *n)
{
	struct entry **bucket = bucket_of(s, n->host);

	n->chain = *bucket;
	*bucket = n;
	lru_add(s, n);
	s->len += n->len;
}

/* Out of the shard, not freed. */
static void detach(struct shard *s, struct entry *n)
{
	struct entry **p = bucket_of(s, n->host);

	while (*p != n)
		p = &(*p)->chain;
	*p = n->chain;
	lru_remove(s, n);
	s->len -= n->len;
}

static bool evictable(const struct entry *n)
{
	return !atomic_load(&n->refs) && !n->dirty && !n->loading &&
	       atomic_load(&n->buf->refs) == 1;
}

static void evict(struct tables *ts, struct shard *s)
{
	struct entry *n = s->oldest, *newer;

	if (atomic_load(&ts->failed))
		return;
	for (; n && s->len > ts->shard_len_max; n = newer) {
		newer = n->newer;
		if (!evictable(n))
			continue;
		detach(s, n);
		entry_free(n);
	}
}

static struct entry *entry_new(
    uint64_t host, uint32_t len, enum table_level level, struct err *e)
{
	struct entry *n = calloc(1, sizeof *n);

	assert(len <= TABLE_LEN_MAX);
	if (!n) {
		err_nomem(e);
		return NULL;
	}
	n->buf = buf_new(len, e);
	if (!n->buf) {
		free(n);
		return NULL;
	}
	n->t.data = n->buf->data;
	n->host = host;
	n->len = len;
	n->level = level;
	atomic_init(&n->refs, 1);
	return n;
}

/* Read a new entry that others may be waiting for already. */
static int load(
    struct tables *ts, struct shard *s, struct entry *n, struct err *e)
{
	int rc = host_pread(ts->file, n->t.data, n->len, n->host, e);

	mutex_lock(&s->lock);
	n->loading = false;
	if (rc)
		detach(s, n);
	else
		evict(ts, s);
	lock_must(pthread_cond_broadcast(&s->loaded));
	mutex_unlock(&s->lock);
	if (rc)
		entry_free(n);
	return rc;
}

/* A damaged image can point to one place as two kinds of table. */
static void overlap(const struct tables *ts, uint64_t host, struct err *e)
{
	err_set(e, ERR_DAMAGED, EIO, "%s: two tables overlap at %#llx",
	    ts->file->name, (unsigned long long)host);
}

struct table *tables_get(struct tables *ts, uint64_t host, uint32_t len,
    enum table_level level, struct err *e)
{
	struct shard *s = shard_of(ts, host);
	struct entry *n;

	mutex_lock(&s->lock);
	while ((n = find(s, host)) && n->loading)
		mutex_wait(&s->lock, &s->loaded);
	if (n && n->len != len) {
		mutex_unlock(&s->lock);
		overlap(ts, host, e);
		return NULL;
	}
	if (n) {
		atomic_fetch_add(&n->refs, 1);
		lru_remove(s, n);
		lru_add(s, n);
		mutex_unlock(&s->lock);
		return &n->t;
	}
	n = entry_new(host, len, level, e);
	if (n) {
		n->loading = true;
		add(s, n);
	}
	mutex_unlock(&s->lock);
	if (!n || load(ts, s, n, e))
		return NULL;
	return &n->t;
}

struct table *tables_new(struct tables *ts, uint64_t host, uint32_t len,
    enum table_level level, struct err *e)
{
	struct shard *s = shard_of(ts, host);
	struct entry *n = entry_new(host, len, level, e);
	bool taken;

	if (!n)
		return NULL;
	memset(n->t.data, 0, len);
	n->dirty = n->fresh = true;
	mutex_lock(&s->lock);
	taken = find(s, host);
	if (!taken) {
		add(s, n);
		evict(ts, s);
	}
	mutex_unlock(&s->lock);
	if (taken) {
		overlap(ts, host, e);
		entry_free(n);
		return NULL;
	}
	atomic_fetch_add(&ts->dirty_len, len);
	return &n->t;
}

void tables_put(struct tables *ts, struct table *t)
{
	struct entry *n = (struct entry *)t;

	(void)ts;
	if (n)
		atomic_fetch_sub(&n->refs, 1);
}

int tables_change(struct tables *ts, struct table *t, struct err *e)
{
	struct entry *n = (struct entry *)t;
	struct shard *s = shard_of(ts, n->host);
	struct buf *old = n->buf, *b;
	bool was_dirty;

	if (atomic_load(&old->refs) > 1) { /* a commit is writing it */
		b = buf_new(n->len, e);
		if (!b)
			return -1;
		memcpy(b->data, old->data, n->len);
		mutex_lock(&s->lock);
		n->buf = b;
		n->t.data = b->data;
		mutex_unlock(&s->lock);
		tables_buf_put(old);
	}
	mutex_lock(&s->lock);
	was_dirty = n->dirty;
	n->dirty = true;
	mutex_unlock(&s->lock);
	if (!was_dirty)
		atomic_fetch_add(&ts->dirty_len, n->len);
	return 0;
}

/* Those of `level` (TABLE_LEVELS: any) in a range. */
static void forget_shard(struct tables *ts, struct shard *s,
    enum table_level level, uint64_t host, uint64_t len)
{
	struct entry *n, *newer;

	mutex_lock(&s->lock);
	for (n = s->oldest; n; n = newer) {
		newer = n->newer;
		if (n->host < host || n->host - host >= len ||
		    (level != TABLE_LEVELS && n->level != level))
			continue;
		assert(!atomic_load(&n->refs) && !n->loading);
		if (n->dirty)
			atomic_fetch_sub(&ts->dirty_len, n->len);
		detach(s, n);
		entry_free(n);
	}
	mutex_unlock(&s->lock);
}

void tables_forget(struct tables *ts, uint64_t host, uint64_t len)
{
	for (unsigned i = 0; i < SHARD_N; i++)
		forget_shard(ts, &ts->shard[i], TABLE_LEVELS, host, len);
}

void tables_forget_level(struct tables *ts, enum table_level level)
{
	for (unsigned i = 0; i < SHARD_N; i++)
		forget_shard(ts, &ts->shard[i], level, 0, UINT64_MAX);
}

uint64_t tables_dirty_len(struct tables *ts)
{
	return atomic_load(&ts->dirty_len);
}
