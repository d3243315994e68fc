/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Comparing two images: img_compare().
 *
 * A planner walks the block status of both and hands out, in order, what has
 * to be read: not what is zero in both, nor what is the same host bytes in
 * both.  Past its end an image is zero.  Workers read and compare.
 *
 * The finding with the lowest offset counts, be it a difference or an error:
 * pieces before it were handed out before it, and are finished.  So the result
 * is that of one thread.
 *
 * Locks: `plan_lock` for taking pieces; `lock` for findings and progress.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "crew.h"
#include "sides.h"
#include "zero.h"

#define CHUNK	    (2u * MiB)
#define ABSORB_LEN  (64u * KiB) /* shorter equal parts are read all the same */
#define THREADS_MAX 12u		/* two buffers of CHUNK each               */

struct piece {
	uint64_t off, len;
	bool read[2]; /* that side; else it is zeroes */
};

struct compare {
	struct img_compare *job;

	struct mutex plan_lock;
	struct sides sides;
	uint64_t common, total;

	struct mutex lock;
	_Atomic uint64_t found; /* offset of the finding; UINT64_MAX: none */
	enum img_compare_result result;
	bool read_failed;
	struct err *err;
	uint64_t done;
};

/* ---- findings ------------------------------------------------------------ */

static void found(struct compare *c, uint64_t off,
    enum img_compare_result result, const struct err *e, bool read_failed)
{
	mutex_lock(&c->lock);
	if (off < atomic_load(&c->found)) {
		atomic_store(&c->found, off);
		c->result = result;
		c->read_failed = read_failed;
		err_clear(c->err);
		if (e)
			*c->err = *e;
	}
	mutex_unlock(&c->lock);
}

static bool anything_found(struct compare *c)
{
	return atomic_load(&c->found) != UINT64_MAX;
}

static void progress(struct compare *c, uint64_t len)
{
	const struct img_progress *p = &c->job->progress;
	struct err e = ERR_INIT;
	int rc = 0;

	mutex_lock(&c->lock);
	c->done += len;
	if (p->step)
		rc = p->step(p->arg, c->done, c->total);
	mutex_unlock(&c->lock);
	if (!rc)
		return;
	err_set(&e, ERR_SYSTEM, ECANCELED, "stopped");
	found(c, 0, IMG_SAME, &e, false);
}

/* ---- the plan ------------------------------------------------------------ */

static bool same_status(const struct img_extent *a, const struct img_extent *b)
{
	return a->present == b->present && a->zero == b->zero &&
	       a->data == b->data && a->packed == b->packed &&
	       a->has_offset == b->has_offset;
}

/* Is what lies at pos equal, as far as can be told without reading?  *len: as
 * far as the answer goes. */
static bool equal_here(struct compare *c, uint64_t *len)
{
	uint64_t pos = c->sides.pos;

	return sides_equal(
	    &c->sides, (pos < c->common ? c->common : c->total) - pos, len);
}

/* 0, or -1 when there is a finding at pos. */
static int look_both(struct compare *c)
{
	struct sides *s = &c->sides;
	struct err e = ERR_INIT;

	for (unsigned i = 0; i < 2; i++) {
		if (!sides_look(s, i, &e))
			continue;
		err_prefix(&e, "Sector allocation test failed for %s: ",
		    img_name(s->side[i].img));
		found(c, s->pos, IMG_SAME, &e, false);
		return -1;
	}
	if (c->job->strict && !same_status(&s->side[0].x, &s->side[1].x)) {
		found(c, s->pos, IMG_DIFFER_STATUS, NULL, false);
		return -1;
	}
	return 0;
}

/* Grow the piece by what lies at pos; false where it ends. */
static bool extend(struct compare *c, struct piece *p)
{
	uint64_t limit = CHUNK - p->len, len;
	bool equal;

	if (!limit || c->sides.pos == c->total ||
	    (p->len && c->sides.pos == c->common) || look_both(c))
		return false;
	equal = equal_here(c, &len);
	if (equal && (!p->len || len >= ABSORB_LEN))
		return false;
	len = min_u64(len, limit);
	for (unsigned i = 0; i < 2; i++)
		p->read[i] |= !c->sides.side[i].x.zero;
	p->len += len;
	sides_move(&c->sides, len);
	return true;
}

/* Pass over what is equal; false at the end, or at a finding. */
static bool skip_equal(struct compare *c)
{
	uint64_t len;

	while (c->sides.pos < c->total && !anything_found(c)) {
		if (look_both(c))
			return false;
		if (!equal_here(c, &len))
			return true;
		sides_move(&c->sides, len);
		progress(c, len);
	}
	return false;
}

static bool next_piece(struct compare *c, struct piece *p)
{
	bool more;

	mutex_lock(&c->plan_lock);
	more = skip_equal(c);
	*p = (struct piece){.off = c->sides.pos};
	while (more && extend(c, p))
		;
	mutex_unlock(&c->plan_lock);
	return p->len;
}

/* ---- comparing ----------------------------------------------------------- */

static int read_side(
    struct compare *c, const struct piece *p, unsigned i, uint8_t *buf)
{
	struct image *img = c->sides.side[i].img;
	struct err e = ERR_INIT;

	if (!p->read[i] || !img_pread(img, buf, p->len, p->off, &e))
		return 0;
	err_prefix(&e, "Error while reading offset %llu of %s: ",
	    (unsigned long long)p->off, img_name(img));
	found(c, p->off, IMG_SAME, &e, true);
	return -1;
}

/* Bytes before the first sector that differs. */
static uint64_t equal_prefix(const uint8_t *a, const uint8_t *b, uint64_t len)
{
	uint64_t at = 0;

	if (!memcmp(a, b, len))
		return len;
	while (!memcmp(a + at, b + at, min_u64(SECTOR_LEN, len - at)))
		at += SECTOR_LEN;
	return at;
}

static void compare_piece(
    struct compare *c, const struct piece *p, uint8_t *a, uint8_t *b)
{
	uint64_t n;

	if (read_side(c, p, 0, a) || read_side(c, p, 1, b))
		return;
	if (p->read[0] && p->read[1])
		n = equal_prefix(a, b, p->len);
	else
		n = zero_prefix(p->read[0] ? a : b, p->len, SECTOR_LEN);
	if (n < p->len)
		found(c, p->off + n, IMG_DIFFER_CONTENT, NULL, false);
	progress(c, p->len);
}

static void work(void *arg)
{
	struct compare *c = arg;
	uint8_t *buf = malloc(2 * (size_t)CHUNK);
	struct err e = ERR_INIT;
	struct piece p;

	if (!buf) {
		err_nomem(&e);
		found(c, 0, IMG_SAME, &e, false);
	}
	while (buf && next_piece(c, &p))
		compare_piece(c, &p, buf, buf + CHUNK);
	free(buf);
}

static void run(struct compare *c)
{
	unsigned n = c->job->threads ? c->job->threads : crew_default();

	mutex_init(&c->plan_lock);
	mutex_init(&c->lock);
	crew_run(
	    (unsigned)min_u64(min_u64(n, THREADS_MAX), c->total / CHUNK + 1),
	    work, c);
	mutex_destroy(&c->lock);
	mutex_destroy(&c->plan_lock);
}

int img_compare(struct img_compare *job, struct err *e)
{
	uint64_t a = img_size(job->a), b = img_size(job->b), at;
	struct compare c = {
	    .job = job,
	    .common = min_u64(a, b),
	    .total = max_u64(a, b),
	    .found = UINT64_MAX,
	    .result = IMG_SAME,
	    .err = e,
	};

	sides_init(&c.sides, job->a, job->b);
	job->result = IMG_SAME;
	job->size_differs = job->read_failed = false;
	if (job->strict && a != b) {
		job->result = IMG_DIFFER_SIZE;
		return 0;
	}
	run(&c);
	at = atomic_load(&c.found);
	job->result = c.result;
	job->offset = at;
	job->read_failed = c.read_failed;
	job->size_differs = a != b && at >= c.common;
	return err_is_set(e) ? -1 : 0;
}
