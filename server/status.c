/* SPDX-License-Identifier: BSD-3-Clause */
/* What the map says: see status.h. */
#include <errno.h>
#include <stdlib.h>

#include "core/units.h"
#include "image.h"

#include "cursor.h"
#include "export.h"
#include "nbd.h"
#include "task.h"
#include "session.h"
#include "status.h"

/* Bound on the descriptors of one context in one reply. */
#define EXTENTS_MAX 16384u

/* Bound on the look-ups of one reply: neighbours that look alike to a client
   can be many extents of the map. */
#define LOOKUPS_MAX 65536u

/* Shorter holes are sent as zeroes: looking for them costs more. */
#define HOLE_MIN (32 * KiB)

/* ---- block status ------------------------------------------------------ */

/*
 * Descriptors of one context.  A run, the last of them, is not written before
 * the next begins: neighbours that fit together become one descriptor.
 */
struct run {
	bool extended;
	uint8_t *out;
	size_t out_len;
	unsigned n;
	struct context_extent x; /* of the run; len 0: there is none */
};

static void run_end(struct run *u)
{
	if (!u->x.len)
		return;
	u->out_len += wire_descriptor(
	    u->out + u->out_len, u->extended, u->x.len, u->x.status);
	u->n++;
	u->x.len = 0;
}

/* Does an extent go on where the run ends? */
static bool run_goes_on(const struct run *u, const struct context_extent *x)
{
	return u->x.step == x->step &&
	       u->x.status + u->x.len * u->x.step == x->status;
}

/* False when it would be one descriptor too many. */
static bool run_add(struct run *u, const struct context_extent *x, unsigned max)
{
	if (u->x.len && !run_goes_on(u, x)) {
		run_end(u);
		if (u->n == max)
			return false;
	}
	if (u->x.len)
		u->x.len += x->len;
	else
		u->x = *x;
	return true;
}

/* The descriptors of context i go to u->out, which has room. */
static int describe(const struct task *r, const struct export *x, unsigned i,
    struct run *u, struct err *e)
{
	unsigned max = r->rq.flags & NBD_CMD_FLAG_REQ_ONE ? 1 : EXTENTS_MAX;
	uint64_t off = r->rq.off, end = off + r->rq.len;
	struct context_extent ext;

	for (unsigned k = 0; off < end && k < LOOKUPS_MAX; k++) {
		if (context_extent(
			x, i, off, end - off, r->rq.extended, &ext, e))
			return -1;
		if (!run_add(u, &ext, max))
			break;
		off += ext.len;
	}
	run_end(u);
	return 0;
}

/* Bytes of the descriptors of one context. */
static size_t context_len(bool extended)
{
	return EXTENTS_MAX * wire_descriptor_len(extended);
}

size_t status_len(uint64_t contexts, bool extended)
{
	return (size_t)__builtin_popcountll(contexts) * context_len(extended);
}

uint32_t status_filter(
    struct task *r, const struct session *s, const char **why)
{
	struct cursor c = {r->data, r->rq.payload};
	uint64_t wanted = 0;
	uint32_t id;

	if (!get_u64(&c, &r->rq.len) || !c.left || c.left % 4) {
		*why = "payload is not a length and a list of contexts";
		return NBD_EINVAL;
	}
	while (get_u32(&c, &id)) {
		uint64_t bit = id < CONTEXT_MAX ? 1ull << id : 0;

		if (!(s->contexts & bit) || wanted & bit) {
			*why = "context is not selected, or there twice";
			return NBD_EINVAL;
		}
		wanted |= bit;
	}
	r->contexts = wanted;
	return 0;
}

int status_answer(struct task *r, const struct session *s, struct err *e)
{
	uint64_t left = r->contexts ? r->contexts : s->contexts;
	bool extended = r->rq.extended;
	uint8_t *out = malloc(status_len(left, extended));

	r->extra = out;
	if (!out)
		return err_nomem(e);
	while (left) {
		unsigned i = (unsigned)__builtin_ctzll(left);
		struct run u = {.extended = extended, .out = out};
		struct chunk *c;

		if (describe(r, s->export, i, &u, e))
			return -1;
		c = task_chunk(r, r->rq.off, r->rq.len);
		if (!c)
			return err_nomem(e);
		left &= left - 1;
		c->head_len = wire_status(c->head, &r->rq, !left, i, u.n);
		c->data = out;
		c->data_len = u.out_len;
		out += context_len(extended);
	}
	return 0;
}

/* ---- reads ------------------------------------------------------------- */

/* Appends [off, off + len), to the last chunk where both are data. */
static int append(
    struct task *r, uint64_t off, uint64_t len, bool hole, struct err *e)
{
	struct chunk *c = r->chunk_n ? &r->chunk[r->chunk_n - 1] : NULL;

	if (c && c->hole == hole) {
		c->len += len;
		return 0;
	}
	c = task_chunk(r, off, len);
	if (!c)
		return err_nomem(e);
	c->hole = hole;
	return 0;
}

int status_split(struct task *r, const struct session *s, struct err *e)
{
	uint64_t off = r->rq.off, end = off + r->rq.len;
	struct img_extent ext;

	if (!s->structured || r->rq.flags & NBD_CMD_FLAG_DF ||
	    r->rq.len < HOLE_MIN)
		return append(r, off, r->rq.len, false, e);
	while (off < end) {
		if (img_map(s->export->img, s->export->start + off, end - off,
			&ext, e))
			return -1;
		if (append(r, off, ext.len, ext.zero && ext.len >= HOLE_MIN, e))
			return -1;
		off += ext.len;
	}
	return 0;
}
