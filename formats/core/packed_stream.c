/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Packed units piece by piece: see packed_stream.h.
 *
 * Two units at a time, for threads at the end of one and at the start of the
 * next.  A stream with users keeps its unit.  One of them at a time goes on
 * with it, and does not go so far that another one, who waits, would not find
 * its part in the window any more.
 *
 * `lock` guards all, but what was unpacked belongs to who is busy with it; it
 * is not held meanwhile.
 */
#include <stdlib.h>
#include <string.h>

#include "../codec/codec.h"
#include "packed_stream.h"

#define STREAM_N   2u
#define WINDOW_LEN (8 * MiB) /* what is unpacked and may be asked for */
#define STEP_LEN   (64 * KiB)

/* A part of the unit that somebody wants: bytes [in, end). */
struct waiter {
	uint64_t in, end;
	struct waiter *next;
};

struct stream {
	struct extent x; /* its unit; packed.stored 0: none */
	unsigned refs;
	uint64_t used; /* by age: the smallest is the oldest */
	struct waiter *waiters;
	bool busy; /* one user has all that follows */

	struct codec_stream *codec; /* stays for the next unit */
	enum codec codec_is;
	bool going;	 /* else it has to begin */
	uint64_t pos;	 /* bytes of the unit that were unpacked */
	uint8_t *window; /* byte `i` of the unit is at i % WINDOW_LEN */
};

struct packed_streams {
	struct mutex lock;
	pthread_cond_t changed; /* a stream is not busy, or has no user, now */
	struct stream stream[STREAM_N];
	uint64_t clock;
};

struct packed_streams *packed_streams_new(struct err *e)
{
	struct packed_streams *p = calloc(1, sizeof *p);

	if (!p) {
		err_nomem(e);
		return NULL;
	}
	mutex_init(&p->lock);
	lock_must(pthread_cond_init(&p->changed, NULL));
	return p;
}

void packed_streams_free(struct packed_streams *p)
{
	if (!p)
		return;
	for (unsigned i = 0; i < STREAM_N; i++) {
		codec_stream_free(p->stream[i].codec);
		free(p->stream[i].window);
	}
	lock_must(pthread_cond_destroy(&p->changed));
	mutex_destroy(&p->lock);
	free(p);
}

/* ---- one unit ------------------------------------------------------------ */

static int read_stored(
    void *arg, void *buf, size_t len, uint64_t off, struct err *e)
{
	const struct stream *s = arg;

	return host_pread(s->x.file, buf, len, s->x.host + off, e);
}

static int start(struct stream *s, struct err *e)
{
	const struct codec_source src = {
	    .len = s->x.packed.stored, .read = read_stored, .arg = s};
	uint32_t len = s->x.packed.unit_len;

	s->pos = 0;
	if (!s->window)
		s->window = malloc(WINDOW_LEN);
	if (!s->window)
		return err_nomem(e);
	if (s->codec && s->codec_is == s->x.packed.codec) {
		s->going = !codec_stream_again(s->codec, len, &src, e);
		return s->going ? 0 : -1;
	}
	codec_stream_free(s->codec);
	s->codec_is = s->x.packed.codec;
	s->codec = codec_stream_new(s->codec_is, len, &src, e);
	s->going = s->codec;
	return s->going ? 0 : -1;
}

/* Unpack up to `end`. */
static int advance(struct stream *s, uint64_t end, struct err *e)
{
	while (s->pos < end) {
		uint64_t n = STEP_LEN - s->pos % STEP_LEN;

		n = min_u64(n, s->x.packed.unit_len - s->pos);
		if (codec_stream_read(
			s->codec, s->window + s->pos % WINDOW_LEN, n, e))
			return -1;
		s->pos += n;
	}
	return 0;
}

/* [in, in + len) of the unit, less than half of a window. */
static int copy_part(
    struct stream *s, uint8_t *buf, size_t len, uint64_t in, struct err *e)
{
	uint64_t first = min_u64(len, WINDOW_LEN - in % WINDOW_LEN);

	if ((!s->going || s->pos > in + WINDOW_LEN) && start(s, e))
		return -1;
	if (advance(s, in + len, e))
		return -1;
	memcpy(buf, s->window + in % WINDOW_LEN, first);
	memcpy(buf + first, s->window, len - first);
	return 0;
}

/* ---- one after the other ---------------------------------------------------
 */

/* Would it take away from another what is, or will be, in the window? */
static bool must_wait(const struct stream *s, const struct waiter *me)
{
	if (s->busy)
		return true;
	for (const struct waiter *w = s->waiters; s->going && w; w = w->next)
		if (w->in < me->in && s->pos <= w->in + WINDOW_LEN &&
		    round_up(me->end, STEP_LEN) > w->in + WINDOW_LEN)
			return true;
	return false;
}

static void enter(struct packed_streams *p, struct stream *s, struct waiter *me)
{
	struct waiter **link = &s->waiters;

	mutex_lock(&p->lock);
	me->next = s->waiters;
	s->waiters = me;
	while (must_wait(s, me))
		mutex_wait(&p->lock, &p->changed);
	while (*link != me)
		link = &(*link)->next;
	*link = me->next;
	s->busy = true;
	mutex_unlock(&p->lock);
}

static void leave(struct packed_streams *p, struct stream *s)
{
	mutex_lock(&p->lock);
	s->busy = false;
	lock_must(pthread_cond_broadcast(&p->changed));
	mutex_unlock(&p->lock);
}

static int copy_out(struct packed_streams *p, struct stream *s, uint8_t *buf,
    size_t len, uint64_t in, struct err *e)
{
	int rc = 0;

	while (len && !rc) {
		size_t n = min_u64(len, WINDOW_LEN / 4);
		struct waiter me = {.in = in, .end = in + n};

		enter(p, s, &me);
		rc = copy_part(s, buf, n, in, e);
		s->going &= !rc;
		leave(p, s);
		buf += n;
		in += n;
		len -= n;
	}
	if (rc)
		err_prefix(e, "%s: compressed data of %u bytes at %llu: ",
		    s->x.file->name, s->x.packed.stored,
		    (unsigned long long)s->x.host);
	return rc;
}

/* ---- which units ----------------------------------------------------------
 */

static bool is_unit(const struct stream *s, const struct extent *x)
{
	return s->x.packed.stored && s->x.host == x->host &&
	       s->x.file == x->file &&
	       s->x.packed.unit_len == x->packed.unit_len;
}

static struct stream *find(struct packed_streams *p, const struct extent *x)
{
	for (unsigned i = 0; i < STREAM_N; i++)
		if (is_unit(&p->stream[i], x))
			return &p->stream[i];
	return NULL;
}

/* The one that was used longest ago; NULL: all have users. */
static struct stream *oldest(struct packed_streams *p)
{
	struct stream *best = NULL;

	for (unsigned i = 0; i < STREAM_N; i++) {
		struct stream *s = &p->stream[i];

		if (!s->refs && (!best || s->used < best->used))
			best = s;
	}
	return best;
}

static struct stream *take_stream(
    struct packed_streams *p, const struct extent *x)
{
	struct stream *s;

	mutex_lock(&p->lock);
	while (!(s = find(p, x))) {
		s = oldest(p);
		if (s) {
			s->going = false;
			s->x = *x;
			break;
		}
		mutex_wait(&p->lock, &p->changed);
	}
	s->refs++;
	s->used = ++p->clock;
	mutex_unlock(&p->lock);
	return s;
}

static void put_stream(struct packed_streams *p, struct stream *s)
{
	mutex_lock(&p->lock);
	s->refs--;
	lock_must(pthread_cond_broadcast(&p->changed));
	mutex_unlock(&p->lock);
}

int packed_streams_read(struct packed_streams *p, const struct extent *x,
    void *buf, size_t len, uint64_t off, struct err *e)
{
	struct stream *s = take_stream(p, x);
	int rc = copy_out(p, s, buf, len, off - x->packed.unit, e);

	put_stream(p, s);
	return rc;
}

void packed_streams_forget(
    struct packed_streams *p, uint64_t host, uint64_t len)
{
	mutex_lock(&p->lock);
	for (unsigned i = 0; i < STREAM_N; i++) {
		struct stream *s = &p->stream[i];

		if (!s->refs && s->x.host >= host && s->x.host - host < len)
			s->x.packed.stored = 0;
	}
	mutex_unlock(&p->lock);
}
