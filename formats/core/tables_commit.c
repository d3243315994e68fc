/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Write-back of the metadata table cache: see tables.h for the order (I3).
 *
 * What is dirty is taken under meta exclusive and written without it; a table
 * that changes meanwhile gets a buffer of its own (tables_change), so what is
 * written is the state at the start (I2).
 */
#include <stdlib.h>

#include "../host/hostfile.h"
#include "cleanup.h"
#include "tables_impl.h"
#include "units.h"

/* One dirty buffer on its way to the file. */
struct out {
	uint64_t host;
	uint32_t len;
	enum table_level level;
	struct buf *buf;
};
struct outs {
	struct out *item;
	size_t n, max;
};

static int outs_add(struct outs *o, struct entry *n, struct err *e)
{
	if (o->n == o->max) {
		size_t max = o->max ? 2 * o->max : 64;
		struct out *item = reallocarray(o->item, max, sizeof *item);

		if (!item)
			return err_nomem(e);
		o->item = item;
		o->max = max;
	}
	atomic_fetch_add(&n->buf->refs, 1);
	o->item[o->n++] = (struct out){.host = n->host,
	    .len = n->len,
	    .level = n->fresh ? TABLE_COUNT : n->level,
	    .buf = n->buf};
	return 0;
}

/* Take what is dirty, of levels up to `last`; it is clean from now on. */
static int collect(
    struct tables *ts, enum table_level last, struct outs *o, struct err *e)
{
	int rc = 0;

	for (unsigned i = 0; i < SHARD_N && !rc; i++) {
		struct shard *s = &ts->shard[i];

		mutex_lock(&s->lock);
		for (struct entry *n = s->oldest; n && !rc; n = n->newer) {
			if (!n->dirty || (n->level > last && !n->fresh))
				continue;
			rc = outs_add(o, n, e);
			if (rc)
				break;
			n->dirty = n->fresh = false;
			atomic_fetch_sub(&ts->dirty_len, n->len);
		}
		mutex_unlock(&s->lock);
	}
	return rc;
}

static int by_level_and_host(const void *a, const void *b)
{
	const struct out *x = a, *y = b;

	if (x->level != y->level)
		return x->level < y->level ? -1 : 1;
	return x->host < y->host ? -1 : x->host > y->host;
}

/* Write neighbours from item i on in one call; returns the next i, 0 failed. */
static size_t write_run(
    struct tables *ts, const struct outs *o, size_t i, struct err *e)
{
	struct iovec iov[64];
	uint64_t start = o->item[i].host, end = start;
	enum table_level level = o->item[i].level;
	int n = 0;

	for (; i < o->n && n < (int)ARRAY_N(iov); i++, n++) {
		const struct out *x = &o->item[i];

		if (x->host != end || x->level != level)
			break;
		iov[n] = (struct iovec){x->buf->data, x->len};
		end += x->len;
	}
	return host_pwritev(ts->file, iov, n, start, e) ? 0 : i;
}

/*
 * Write all, level by level.  With `sync`, what a level needs is durable
 * before it: the data and the counts first, even if no count changed.
 */
static int write_all(
    struct tables *ts, struct outs *o, bool sync, struct err *e)
{
	size_t i = 0;

	if (o->n)
		qsort(o->item, o->n, sizeof *o->item, by_level_and_host);
	for (int level = TABLE_COUNT; level < TABLE_LEVELS; level++) {
		size_t first = i;

		while (i < o->n && (int)o->item[i].level == level) {
			i = write_run(ts, o, i, e);
			if (!i)
				return -1;
		}
		if (sync && i < o->n && (i > first || level == TABLE_COUNT) &&
		    host_sync(ts->file, e))
			return -1;
	}
	return 0;
}

static void outs_free(struct outs *o)
{
	for (size_t i = 0; i < o->n; i++)
		tables_buf_put(o->item[i].buf);
	free(o->item);
}

/* What is dirty now, and the mark that goes with it. */
static int begin(struct tables *ts, void (*mark)(void *arg), void *arg,
    struct outs *o, struct err *e)
{
	int rc;

	rwlock_excl(ts->meta);
	mark(arg);
	rc = collect(ts, TABLE_MAP, o, e);
	rwlock_excl_end(ts->meta);
	return rc;
}

static int end(struct tables *ts, struct outs *o, int rc)
{
	if (rc)
		atomic_store(&ts->failed, true);
	outs_free(o);
	return rc;
}

int tables_commit(struct tables *ts, struct hostfile *data,
    void (*mark)(void *arg), void *arg, struct err *e)
{
	struct outs o = {0};
	int rc = begin(ts, mark, arg, &o, e);

	if (!rc && data && data != ts->file)
		rc = host_sync(data, e);
	if (!rc)
		rc = write_all(ts, &o, true, e);
	if (!rc)
		rc = host_sync(ts->file, e);
	return end(ts, &o, rc);
}

static int store_all(
    struct outs *o, tables_store *store, void *arg, struct err *e)
{
	CLEANUP_FREE struct table_piece *piece =
	    calloc(o->n + 1, sizeof *piece);

	if (!piece)
		return err_nomem(e);
	if (o->n)
		qsort(o->item, o->n, sizeof *o->item, by_level_and_host);
	for (size_t i = 0; i < o->n; i++)
		piece[i] = (struct table_piece){
		    o->item[i].host, o->item[i].len, o->item[i].buf->data};
	return store(arg, piece, o->n, e);
}

int tables_commit_through(struct tables *ts, tables_store *store,
    void (*mark)(void *arg), void *arg, struct err *e)
{
	struct outs o = {0};
	int rc = begin(ts, mark, arg, &o, e);

	if (!rc)
		rc = store_all(&o, store, arg, e);
	return end(ts, &o, rc);
}

int tables_write_counts(struct tables *ts, struct err *e)
{
	struct outs o = {0};
	int rc;

	rc = collect(ts, TABLE_ROOT, &o, e);
	if (!rc)
		rc = write_all(ts, &o, false, e);
	return end(ts, &o, rc);
}
