/* SPDX-License-Identifier: BSD-3-Clause */
/* Reading packed units: see packed.h. */
#include <stdlib.h>
#include <string.h>

#include "../codec/codec.h"
#include "packed.h"
#include "packed_stream.h"

#define SLOT_N	  32u
#define CACHE_LEN (4 * MiB)  /* unpacked, unless one unit is more */
#define BUSY_LEN  (16 * MiB) /* being unpacked, unless one unit is more */
#define LONG_LEN  (8 * MiB)  /* what is more, stored or unpacked, is long */

struct slot {
	struct hostfile *file;
	uint64_t host;
	uint64_t used; /* by age: the smallest is the oldest */
	uint32_t len;
	bool busy;     /* it is being unpacked; no data yet */
	uint32_t held; /* bytes, stored or not, while it is */
	uint8_t *data; /* NULL: the slot is empty, or busy */
};

struct packed_cache {
	struct mutex lock;
	pthread_cond_t ready; /* a slot is not busy any more */
	struct slot slot[SLOT_N];
	uint64_t clock;
	uint64_t len, busy_len; /* bytes that are kept; held to unpack more */
	struct packed_streams *streams;
};

bool packed_is_long(const struct extent *x)
{
	return max_u64(x->packed.unit_len, x->packed.stored) > LONG_LEN;
}

struct packed_cache *packed_new(struct err *e)
{
	struct packed_cache *c = calloc(1, sizeof *c);

	if (!c) {
		err_nomem(e);
		return NULL;
	}
	c->streams = packed_streams_new(e);
	if (!c->streams) {
		free(c);
		return NULL;
	}
	mutex_init(&c->lock);
	pthread_cond_init(&c->ready, NULL);
	return c;
}

static void drop(struct packed_cache *c, struct slot *s)
{
	c->len -= s->data ? s->len : 0;
	free(s->data);
	s->data = NULL;
}

void packed_free(struct packed_cache *c)
{
	if (!c)
		return;
	for (unsigned i = 0; i < SLOT_N; i++)
		drop(c, &c->slot[i]);
	packed_streams_free(c->streams);
	pthread_cond_destroy(&c->ready);
	mutex_destroy(&c->lock);
	free(c);
}

static struct slot *find(struct packed_cache *c, const struct extent *x)
{
	for (unsigned i = 0; i < SLOT_N; i++) {
		struct slot *s = &c->slot[i];

		if ((s->data || s->busy) && s->host == x->host &&
		    s->file == x->file && s->len == x->packed.unit_len)
			return s;
	}
	return NULL;
}

/* Is it cached?  Then [off, off + len) is copied. */
static bool lookup(struct packed_cache *c, const struct extent *x, void *buf,
    size_t len, uint64_t off)
{
	struct slot *s = find(c, x);

	if (!s || s->busy)
		return false;
	memcpy(buf, s->data + (off - x->packed.unit), len);
	s->used = ++c->clock;
	return true;
}

bool packed_lookup(struct packed_cache *c, const struct extent *x, void *buf,
    size_t len, uint64_t off)
{
	bool found;

	mutex_lock(&c->lock);
	found = lookup(c, x, buf, len, off);
	mutex_unlock(&c->lock);
	return found;
}

/* An empty slot, or the oldest one that has data; NULL: all are busy. */
static struct slot *oldest(struct packed_cache *c, bool empty_too)
{
	struct slot *best = NULL;

	for (unsigned i = 0; i < SLOT_N; i++) {
		struct slot *s = &c->slot[i];

		if (!s->data && !s->busy && empty_too)
			return s;
		if (s->data && (!best || s->used < best->used))
			best = s;
	}
	return best;
}

/*
 * 1 it is cached by now, and copied; 0 the caller has to unpack it, and then
 * to call finish(): others that want it wait.  Large units go one by one, and
 * a long one is alone in memory.
 */
static int begin(struct packed_cache *c, const struct extent *x, void *buf,
    size_t len, uint64_t off)
{
	uint32_t unit_len = x->packed.unit_len;
	uint32_t held = (uint32_t)max_u64(unit_len, x->packed.stored);
	struct slot *s;
	int rc = 1;

	mutex_lock(&c->lock);
	while (!lookup(c, x, buf, len, off)) {
		s = find(c, x) ? NULL : oldest(c, true);
		if (s && (!c->busy_len || c->busy_len + held <= BUSY_LEN)) {
			drop(c, s);
			for (unsigned i = 0; packed_is_long(x) && i < SLOT_N;
			     i++)
				drop(c, &c->slot[i]);
			*s = (struct slot){.file = x->file,
			    .host = x->host,
			    .len = unit_len,
			    .held = held,
			    .busy = true};
			c->busy_len += held;
			rc = 0;
			break;
		}
		mutex_wait(&c->lock, &c->ready);
	}
	mutex_unlock(&c->lock);
	return rc;
}

/* Takes over `data`; NULL: it did not unpack. */
static void finish(
    struct packed_cache *c, const struct extent *x, uint8_t *data)
{
	struct slot *s;

	mutex_lock(&c->lock);
	s = find(c, x);
	s->busy = false;
	c->busy_len -= s->held;
	while (data && c->len && c->len + s->len > CACHE_LEN)
		drop(c, oldest(c, false));
	s->data = data;
	s->used = ++c->clock;
	c->len += data ? s->len : 0;
	lock_must(pthread_cond_broadcast(&c->ready));
	mutex_unlock(&c->lock);
}

static int unpack(
    const struct extent *x, const uint8_t *stored, uint8_t *unit, struct err *e)
{
	if (!codec_unpack(x->packed.codec, unit, x->packed.unit_len, stored,
		x->packed.stored, e))
		return 0;
	err_prefix(e,
	    "%s: compressed data of %u bytes at %llu: ", x->file->name,
	    x->packed.stored, (unsigned long long)x->host);
	return -1;
}

/* What was not read yet is read here. */
static int unpack_unit(
    const struct extent *x, const uint8_t *stored, uint8_t *unit, struct err *e)
{
	CLEANUP_FREE uint8_t *mine = NULL;

	if (!stored) {
		mine = malloc(x->packed.stored);
		if (!mine)
			return err_nomem(e);
		if (host_pread(x->file, mine, x->packed.stored, x->host, e))
			return -1;
		stored = mine;
	}
	return unpack(x, stored, unit, e);
}

int packed_extract(struct packed_cache *c, const struct extent *x,
    const uint8_t *stored, void *buf, size_t len, uint64_t off, struct err *e)
{
	uint8_t *unit;

	if (!stored && codec_can_stream(x->packed.codec))
		return packed_streams_read(c->streams, x, buf, len, off, e);
	if (stored && len == x->packed.unit_len)
		return unpack(x, stored, buf, e);
	if (begin(c, x, buf, len, off))
		return 0;
	unit = malloc(x->packed.unit_len);
	if (!unit)
		err_nomem(e);
	if (!unit || unpack_unit(x, stored, unit, e)) {
		free(unit);
		finish(c, x, NULL);
		return -1;
	}
	memcpy(buf, unit + (off - x->packed.unit), len);
	finish(c, x, unit);
	return 0;
}

void packed_forget(struct packed_cache *c, uint64_t host, uint64_t len)
{
	mutex_lock(&c->lock);
	for (unsigned i = 0; i < SLOT_N; i++) {
		struct slot *s = &c->slot[i];

		if (s->data && s->host >= host && s->host - host < len)
			drop(c, s);
	}
	mutex_unlock(&c->lock);
	packed_streams_forget(c->streams, host, len);
}
