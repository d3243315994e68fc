/* SPDX-License-Identifier: BSD-3-Clause */
/* What the map says: see status.h. */
#include <errno.h>
#include <stdlib.h>

#include "core/units.h"
#include "image.h"

#include "export.h"
#include "nbd.h"
#include "task.h"
#include "session.h"
#include "status.h"

/* Bound on the descriptors of one context in one reply. */
#define EXTENTS_MAX 16384u
#define CONTEXT_LEN (EXTENTS_MAX * WIRE_DESCRIPTOR_LEN) /* bytes */

/* Bound on the look-ups of one reply: neighbours that look alike to a client
   can be many extents of the map. */
#define LOOKUPS_MAX 65536u

/* Shorter holes are sent as zeroes: looking for them costs more. */
#define HOLE_MIN (32 * KiB)

struct context {
	const char *name;
	uint32_t (*flags)(const struct img_extent *x);
};

static uint32_t allocation_flags(const struct img_extent *x)
{
	return (x->data ? 0 : NBD_STATE_HOLE) | (x->zero ? NBD_STATE_ZERO : 0);
}

static const struct context contexts[] = {
    {"base:allocation", allocation_flags},
};

const char *status_context(unsigned i)
{
	return i < ARRAY_N(contexts) ? contexts[i].name : NULL;
}

/* The extent at `off` of the export, at most `len` bytes. */
static int look_up(const struct export *x, uint64_t off, uint64_t len,
    struct img_extent *ext, struct err *e)
{
	return img_map(x->img, x->start + off, len, ext, e);
}

/* ---- block status ------------------------------------------------------ */

/* Descriptors of one context: a run of equal flags becomes one of them. */
struct run {
	uint8_t *out;
	size_t out_len;
	unsigned n;
	uint64_t len; /* of the run that is not written yet */
	uint32_t flags;
};

static void run_end(struct run *u)
{
	if (u->len)
		u->out_len +=
		    wire_descriptor(u->out + u->out_len, u->len, u->flags);
	u->n += u->len != 0;
	u->len = 0;
}

/* False when it would be one descriptor too many. */
static bool run_add(struct run *u, uint64_t len, uint32_t flags, unsigned max)
{
	if (u->len && u->flags != flags) {
		run_end(u);
		if (u->n == max)
			return false;
	}
	u->flags = flags;
	u->len += len;
	return true;
}

/* The descriptors go to `out`, which has room; returns their bytes. */
static ssize_t describe(const struct task *r, const struct export *x,
    const struct context *c, uint8_t *out, struct err *e)
{
	unsigned max = r->rq.flags & NBD_CMD_FLAG_REQ_ONE ? 1 : EXTENTS_MAX;
	uint64_t off = r->rq.off, end = off + r->rq.len;
	struct run u = {.out = out};
	struct img_extent ext;

	for (unsigned i = 0; off < end && i < LOOKUPS_MAX; i++) {
		if (look_up(x, off, end - off, &ext, e))
			return -1;
		if (!run_add(&u, ext.len, c->flags(&ext), max))
			break;
		off += ext.len;
	}
	run_end(&u);
	return (ssize_t)u.out_len;
}

static unsigned context_n(const struct session *s)
{
	return (unsigned)__builtin_popcount(s->contexts);
}

size_t status_len(const struct session *s)
{
	return (size_t)context_n(s) * CONTEXT_LEN;
}

int status_answer(struct task *r, const struct session *s, struct err *e)
{
	unsigned n = context_n(s), done = 0;

	r->extra = malloc(status_len(s));
	if (!r->extra)
		return err_nomem(e);
	for (unsigned i = 0; i < ARRAY_N(contexts); i++) {
		uint8_t *out = r->extra + (size_t)done * CONTEXT_LEN;
		struct chunk *c;
		ssize_t len;

		if (!(s->contexts & 1u << i))
			continue;
		len = describe(r, s->export, &contexts[i], out, e);
		if (len < 0)
			return -1;
		c = task_chunk(r, r->rq.off, r->rq.len);
		if (!c)
			return err_nomem(e);
		c->head_len = wire_status(
		    c->head, r->rq.cookie, ++done == n, i, (uint32_t)len);
		c->data = out;
		c->data_len = (size_t)len;
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
		if (look_up(s->export, off, end - off, &ext, e))
			return -1;
		if (append(r, off, ext.len, ext.zero && ext.len >= HOLE_MIN, e))
			return -1;
		off += ext.len;
	}
	return 0;
}
