/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Finding and copying what a change of the backing file would change.
 *
 * A planner walks what the image does not have itself, in both chains, and
 * hands out, in order, what cannot be told to be equal without reading.
 * Workers read it from both and copy the grains that differ from the old one.
 *
 * Locks: `plan_lock` for taking pieces; `lock` for progress and the first
 * error.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "../codec/codec.h"
#include "crew.h"
#include "map.h"
#include "rebase.h"
#include "request.h"
#include "sides.h"
#include "write.h"
#include "zero.h"

#define CHUNK	    (2u * MiB)	/* a multiple of every unit                */
#define ABSORB_LEN  (64u * KiB) /* shorter equal parts are read all the same */
#define THREADS_MAX 8u		/* two buffers of CHUNK each, one unit     */

struct piece {
	uint64_t off, len;
};

struct diff {
	const struct img_rebase *job;
	struct image *img, *to;
	uint64_t size;	/* of the image                               */
	uint32_t grain; /* is copied whole, or not                    */
	_Atomic bool stop;

	struct mutex plan_lock;
	struct sides sides; /* what is below the image now, and then */

	struct mutex lock;
	uint64_t done;
	struct err *err; /* the first one */
};

/* ---- errors and progress ------------------------------------------------ */

static void fail(struct diff *d, const struct err *e)
{
	mutex_lock(&d->lock);
	if (!err_is_set(d->err))
		*d->err = *e;
	atomic_store(&d->stop, true);
	mutex_unlock(&d->lock);
}

static int report(struct diff *d, uint64_t len, struct err *e)
{
	const struct img_progress *p = &d->job->progress;
	int rc = 0;

	mutex_lock(&d->lock);
	d->done += len;
	if (p->step && !atomic_load(&d->stop))
		rc = p->step(p->arg, d->done, d->size);
	mutex_unlock(&d->lock);
	return rc ? err_set(e, ERR_SYSTEM, ECANCELED, "stopped") : 0;
}

/* ---- the plan ----------------------------------------------------------- */

enum look {
	LOOK_OWN,   /* the image has it                  */
	LOOK_EQUAL, /* both chains have the same         */
	LOOK_READ,  /* that can only be seen by reading  */
	LOOK_FAILED,
};

/* What is at the current position, and how far; whole grains. */
static enum look look(struct diff *d, uint64_t *len, struct err *e)
{
	uint64_t pos = d->sides.pos, left = d->size - pos, n;
	struct extent x;

	if (layer_map(d->img, pos, left, &x, e))
		return LOOK_FAILED;
	*len = x.len;
	if (x.kind != EXT_HOLE)
		return LOOK_OWN;
	for (unsigned i = 0; i < 2; i++)
		if (sides_look(&d->sides, i, e))
			return LOOK_FAILED;
	if (sides_equal(&d->sides, x.len, &n)) {
		*len = n == x.len ? n : round_down(n, d->grain);
		if (*len)
			return LOOK_EQUAL;
	}
	*len = min_u64(round_up(n, d->grain), x.len);
	return LOOK_READ;
}

/* Pass over what needs nothing.  1: something is there, 0 the end, -1. */
static int skip(struct diff *d, struct err *e)
{
	while (d->sides.pos < d->size && !atomic_load(&d->stop)) {
		uint64_t len;

		switch (look(d, &len, e)) {
		case LOOK_OWN:
		case LOOK_EQUAL:
			sides_move(&d->sides, len);
			if (report(d, len, e))
				return -1;
			break;
		case LOOK_READ:
			return 1;
		case LOOK_FAILED:
			return -1;
		}
	}
	return 0;
}

/* Grow the piece by what comes next.  1 done, 0 it ends here, -1 failed. */
static int extend(struct diff *d, struct piece *p, struct err *e)
{
	uint64_t limit = CHUNK - p->off % CHUNK, len;
	enum look kind;

	if (d->sides.pos == d->size || p->len == limit)
		return 0;
	kind = look(d, &len, e);
	if (kind == LOOK_FAILED)
		return -1;
	if (kind == LOOK_OWN || (kind == LOOK_EQUAL && len >= ABSORB_LEN))
		return 0;
	len = min_u64(len, limit - p->len);
	p->len += len;
	sides_move(&d->sides, len);
	return 1;
}

static int next_piece(struct diff *d, struct piece *p, struct err *e)
{
	unsigned pin = request_enter(d->img);
	int more;

	mutex_lock(&d->plan_lock);
	more = skip(d, e);
	*p = (struct piece){.off = d->sides.pos};
	while (more > 0)
		more = extend(d, p, e);
	mutex_unlock(&d->plan_lock);
	request_leave(d->img, pin);
	if (more < 0)
		return -1;
	return p->len > 0;
}

/* ---- copying ------------------------------------------------------------ */

/* What one worker has in its hands. */
struct worker {
	struct diff *d;
	struct piece p;
	uint8_t *old, *new; /* the bytes of the piece; CHUNK each */
	uint8_t *packed;    /* a unit, where the job packs        */
	struct codec_ctx *codec;
};

enum state {
	STATE_SAME,
	STATE_ZERO, /* differs, and has to read as zeroes */
	STATE_DATA,
};

/* Bytes that are looked at together: a unit that can be packed, or a grain. */
static uint64_t step_at(const struct worker *w, uint64_t at)
{
	const struct diff *d = w->d;
	uint64_t off = w->p.off + at, left = w->p.len - at;

	if (w->codec && is_aligned(off, d->img->unit) &&
	    (left >= d->img->unit || off + left == d->size))
		return min_u64(left, d->img->unit);
	return min_u64(left, d->grain);
}

static enum state state_of(const struct worker *w, uint64_t at, uint64_t len)
{
	if (!memcmp(w->old + at, w->new + at, len))
		return STATE_SAME;
	return is_zero(w->old + at, len) ? STATE_ZERO : STATE_DATA;
}

/* Steps from `at` on that are of one state. */
static uint64_t run_at(const struct worker *w, uint64_t at, enum state *state)
{
	uint64_t len = step_at(w, at);

	*state = state_of(w, at, len);
	while (at + len < w->p.len) {
		uint64_t n = step_at(w, at + len);

		if (state_of(w, at + len, n) != *state)
			break;
		len += n;
	}
	return len;
}

static int put_zeroes(
    struct worker *w, uint64_t len, uint64_t off, struct err *e)
{
	struct image *img = w->d->img;
	struct write_guard g;
	int rc;

	if (write_enter(img, &g, len, off, e))
		return -1;
	rc = zero_range(img, len, off, 0, e);
	write_leave(img, &g);
	return rc ? -1 : write_done(img, 0, e);
}

/* One step, as a packed unit if it is one that shrinks. */
static int put_packed(
    struct worker *w, uint64_t at, uint64_t len, struct err *e)
{
	struct image *img = w->d->img;
	uint64_t off = w->p.off + at;
	ssize_t n = 0;

	if (is_aligned(off, img->unit) &&
	    (len == img->unit || off + len == w->d->size)) {
		/* The end of the disk cuts the last one. */
		memset(w->old + at + len, 0, img->unit - len);
		n = codec_pack(w->codec, w->packed, img->unit - 1, w->old + at,
		    img->unit, e);
	}
	if (n < 0)
		return -1;
	return n ? img_write_packed(img, w->packed, (size_t)n, off, e)
		 : img_pwrite(img, w->old + at, len, off, 0, e);
}

static int put_data(struct worker *w, uint64_t at, uint64_t len, struct err *e)
{
	if (!w->codec)
		return img_pwrite(
		    w->d->img, w->old + at, len, w->p.off + at, 0, e);
	for (uint64_t end = at + len; at < end;) {
		uint64_t n = step_at(w, at);

		if (put_packed(w, at, n, e))
			return -1;
		at += n;
	}
	return 0;
}

/* What is below the image by then; past its end zeroes. */
static int read_new(struct worker *w, struct err *e)
{
	const struct piece *p = &w->p;
	struct image *to = w->d->to;
	uint64_t len = 0;

	if (to && p->off < img_size(to))
		len = min_u64(p->len, img_size(to) - p->off);
	memset(w->new + len, 0, p->len - len);
	return len ? img_pread(to, w->new, len, p->off, e) : 0;
}

static int do_piece(struct worker *w, struct err *e)
{
	uint64_t len;
	int rc = 0;

	if (img_pread(w->d->img, w->old, w->p.len, w->p.off, e) ||
	    read_new(w, e))
		return -1;
	for (uint64_t at = 0; at < w->p.len && !rc; at += len) {
		enum state state;

		len = run_at(w, at, &state);
		switch (state) {
		case STATE_SAME:
			break;
		case STATE_ZERO:
			rc = put_zeroes(w, len, w->p.off + at, e);
			break;
		case STATE_DATA:
			rc = put_data(w, at, len, e);
			break;
		}
	}
	return rc ? -1 : report(w->d, w->p.len, e);
}

static int worker_init(struct worker *w, struct diff *d, struct err *e)
{
	*w =
	    (struct worker){.d = d, .old = malloc(CHUNK), .new = malloc(CHUNK)};
	if (!w->old || !w->new)
		return err_nomem(e);
	if (!d->job->pack)
		return 0;
	w->packed = malloc(d->img->unit);
	if (!w->packed)
		return err_nomem(e);
	w->codec = codec_ctx_new((enum codec)d->img->codec, 0, e);
	return w->codec ? 0 : -1;
}

static void worker_clear(struct worker *w)
{
	codec_ctx_free(w->codec);
	free(w->packed);
	free(w->old);
	free(w->new);
}

static void work(void *arg)
{
	struct diff *d = arg;
	struct err e = ERR_INIT;
	struct worker w;
	int rc = worker_init(&w, d, &e);

	while (!rc) {
		rc = next_piece(d, &w.p, &e);
		if (rc <= 0)
			break;
		rc = do_piece(&w, &e);
	}
	if (rc < 0)
		fail(d, &e);
	worker_clear(&w);
}

int rebase_copy(const struct img_rebase *job, struct image *to, struct err *e)
{
	struct image *img = job->img;
	struct diff d = {.job = job,
	    .img = img,
	    .to = to,
	    .size = img_size(img),
	    .grain = img->grain ? img->grain : img->unit,
	    .err = e};
	uint64_t threads = min_u64(crew_default(), THREADS_MAX);

	if (job->pack && write_packs(img, e))
		return -1;
	sides_init(&d.sides, img->backing, to);
	mutex_init(&d.plan_lock);
	mutex_init(&d.lock);
	crew_run((unsigned)min_u64(threads, d.size / CHUNK + 1), work, &d);
	mutex_destroy(&d.lock);
	mutex_destroy(&d.plan_lock);
	return err_is_set(e) ? -1 : 0;
}
