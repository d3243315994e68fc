/* SPDX-License-Identifier: BSD-3-Clause */
/* Reading packed units: see packed.h. */
#include <stdlib.h>
#include <string.h>

#include "../codec/codec.h"
#include "packed.h"

#define SLOT_N 32u
#define CACHE_LEN                                                              \
	(4u * MiB) /* unpacked bytes kept, unless one unit is more             \
		    */

struct slot {
	struct hostfile *file;
	uint64_t host;
	uint64_t used; /* by age: the smallest is the oldest */
	uint32_t len;
	uint8_t *data; /* NULL: the slot is empty */
};

struct packed_cache {
	struct mutex lock;
	struct slot slot[SLOT_N];
	uint64_t clock, len;
};

struct packed_cache *packed_new(struct err *e)
{
	struct packed_cache *c = calloc(1, sizeof *c);

	if (c)
		mutex_init(&c->lock);
	else
		err_nomem(e);
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
	mutex_destroy(&c->lock);
	free(c);
}

static struct slot *find(struct packed_cache *c, const struct extent *x)
{
	for (unsigned i = 0; i < SLOT_N; i++) {
		struct slot *s = &c->slot[i];

		if (s->data && s->host == x->host && s->file == x->file &&
		    s->len == x->packed.unit_len)
			return s;
	}
	return NULL;
}

bool packed_lookup(struct packed_cache *c, const struct extent *x, void *buf,
    size_t len, uint64_t off)
{
	struct slot *s;

	mutex_lock(&c->lock);
	s = find(c, x);
	if (s) {
		memcpy(buf, s->data + (off - x->packed.unit), len);
		s->used = ++c->clock;
	}
	mutex_unlock(&c->lock);
	return s;
}

static struct slot *oldest(struct packed_cache *c, bool empty_too)
{
	struct slot *best = NULL;

	for (unsigned i = 0; i < SLOT_N; i++) {
		struct slot *s = &c->slot[i];

		if (!s->data && empty_too)
			return s;
		if (s->data && (!best || s->used < best->used))
			best = s;
	}
	return best;
}

/* Takes over `data`. */
static void insert(
    struct packed_cache *c, const struct extent *x, uint8_t *data)
{
	struct slot *s;

	mutex_lock(&c->lock);
	while (c->len && c->len + x->packed.unit_len > CACHE_LEN)
		drop(c, oldest(c, false));
	s = find(c, x);
	if (!s)
		s = oldest(c, true);
	drop(c, s);
	*s = (struct slot){.file = x->file,
	    .host = x->host,
	    .used = ++c->clock,
	    .len = x->packed.unit_len,
	    .data = data};
	c->len += s->len;
	mutex_unlock(&c->lock);
}

int packed_extract(struct packed_cache *c, const struct extent *x,
    const uint8_t *stored, void *buf, size_t len, uint64_t off, struct err *e)
{
	uint8_t *unit = NULL;
	bool whole = len == x->packed.unit_len;

	if (!whole) {
		if (packed_lookup(c, x, buf, len, off))
			return 0;
		unit = malloc(x->packed.unit_len);
		if (!unit)
			return err_nomem(e);
	}
	if (codec_unpack(x->packed.codec, whole ? buf : unit,
		x->packed.unit_len, stored, x->packed.stored, e)) {
		free(unit);
		err_prefix(e,
		    "%s: compressed data of %u bytes at %llu: ", x->file->name,
		    x->packed.stored, (unsigned long long)x->host);
		return -1;
	}
	if (!whole) {
		memcpy(buf, unit + (off - x->packed.unit), len);
		insert(c, x, unit);
	}
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
}
