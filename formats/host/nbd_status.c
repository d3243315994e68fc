/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Block status of an NBD export: base:allocation, or a dirty bitmap in its
 * place; and how deep data lies, where that is wanted and the server says it.
 *
 * A reply has many extents and is asked for one by one: the last reply is
 * kept, for as long as nothing is written through us and for a second at most,
 * since others may write too.  What a server says is taken as far as it makes
 * sense: an extent of no length ends it, what is past the question is cut.
 *
 * `lock` covers all of a struct nbd_status.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "../core/units.h"
#include "nbd.h"

#define RUNS_MAX 4096u
#define ASK_MIN	 (64 * MiB)
#define ASK_MAX	 GiB
#define KEEP_MS	 1000u

#define STATE_HOLE  1u
#define STATE_ZERO  2u
#define STATE_DIRTY 1u /* of a bitmap */

struct run {
	uint64_t end; /* it begins where the one before it ends */
	uint32_t value;
};

/* What a context says; the first run begins at the start of the reply. */
struct runs {
	size_t n;
	struct run run[RUNS_MAX];
};

struct reply {
	uint64_t start;
	struct runs state, depth;
};

struct nbd_status {
	struct mutex lock;
	uint64_t writes; /* counts nbd_status_forget() */
	uint64_t until_ms;
	struct reply *kept; /* NULL: none */
};

struct nbd_status *nbd_status_new(struct err *e)
{
	struct nbd_status *st = calloc(1, sizeof *st);

	if (st)
		mutex_init(&st->lock);
	else
		err_nomem(e);
	return st;
}

void nbd_status_free(struct nbd_status *st)
{
	if (!st)
		return;
	mutex_destroy(&st->lock);
	free(st->kept);
	free(st);
}

void nbd_status_forget(struct nbd_status *st)
{
	mutex_lock(&st->lock);
	st->writes++;
	free(take(st->kept));
	mutex_unlock(&st->lock);
}

/* ---- asking -------------------------------------------------------------- */

struct question {
	struct reply *reply;
	uint64_t end; /* of what was asked */
};

static int on_extents(void *arg, const char *context, uint64_t off,
    uint32_t *entries, size_t n, int *error)
{
	struct question *q = arg;
	bool deep = !strcmp(context, NBD_CONTEXT_DEPTH);
	struct runs *r = deep ? &q->reply->depth : &q->reply->state;
	uint64_t at = q->reply->start;

	(void)error;
	if (r->n || off != at)
		return 0;
	for (size_t i = 0; i + 1 < n && r->n < RUNS_MAX && at < q->end;
	     i += 2) {
		uint32_t value = entries[i + 1];

		if (!deep)
			value &= STATE_HOLE | STATE_ZERO;
		if (!entries[i])
			break;
		at += min_u64(entries[i], q->end - at);
		if (r->n && r->run[r->n - 1].value == value)
			r->run[r->n - 1].end = at;
		else
			r->run[r->n++] = (struct run){at, value};
	}
	return 0;
}

/* The question is one command. */
static bool next_question(struct nbd_job *job, struct nbd_cmd *cmd)
{
	struct question *q = cmd->extents.user_data;

	if (!job->at.len)
		return false;
	q->reply->state.n = q->reply->depth.n = 0;
	cmd->off = job->at.off;
	cmd->len = job->at.len;
	job->at.len = 0;
	return true;
}

/* Where what a reply says ends; its start where it says nothing. */
static uint64_t end_of(const struct nbd_store *s, const struct reply *r)
{
	uint64_t end = UINT64_MAX;

	if (!r->state.n || (s->facts.depth && !r->depth.n))
		return r->start;
	if (s->facts.depth)
		end = r->depth.run[r->depth.n - 1].end;
	return min_u64(end, r->state.run[r->state.n - 1].end);
}

/* Block status from `off` on, at least one run; NULL with *e set. */
static struct reply *ask(
    struct hostfile *f, uint64_t off, uint64_t len, struct err *e)
{
	struct nbd_store *s = f->priv;
	struct question q = {.reply = malloc(sizeof *q.reply)};
	struct nbd_job job = {.next = next_question,
	    .cmd = {.op = NBD_OP_STATUS,
		.extents = {.callback = on_extents, .user_data = &q}}};

	if (!q.reply) {
		err_nomem(e);
		return NULL;
	}
	q.reply->start = job.at.off = round_down(off, s->facts.min_len);
	q.end =
	    min_u64(q.reply->start + min_u64(max_u64(len, ASK_MIN), ASK_MAX),
		s->facts.size);
	job.at.len = q.end - q.reply->start;
	if (nbd_run(s, &job, e))
		err_prefix(e, "%s: ", f->name);
	else if (job.error)
		host_fail(f, job.error, "get block status of", len, off, e);
	else if (end_of(s, q.reply) <= off)
		err_set(e, ERR_DAMAGED, EIO,
		    "%s: the server gives no block status at %llu", f->name,
		    (unsigned long long)off);
	else
		return q.reply;
	free(q.reply);
	return NULL;
}

/* ---- answers ------------------------------------------------------------- */

/* The run at `off`, which is in one of them. */
static const struct run *find_run(const struct runs *r, uint64_t off)
{
	size_t low = 0, high = r->n - 1;

	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (r->run[mid].end <= off)
			low = mid + 1;
		else
			high = mid;
	}
	return &r->run[low];
}

/* What a reply says at `off`, which is in it. */
static void answer(const struct nbd_store *s, const struct reply *r,
    uint64_t off, struct host_extent *x)
{
	const struct run *state = find_run(&r->state, off), *depth;

	x->len = state->end - off;
	if (s->address.bitmap) {
		x->nowhere = state->value & STATE_DIRTY;
		return;
	}
	x->zero = state->value & STATE_ZERO;
	x->hole = x->zero && (state->value & STATE_HOLE);
	if (!s->facts.depth)
		return;
	depth = find_run(&r->depth, off);
	x->len = min_u64(x->len, depth->end - off);
	x->nowhere = !depth->value && x->zero;
	x->depth = depth->value ? depth->value - 1 : 0;
}

static bool find_kept(const struct nbd_store *s, struct nbd_status *st,
    uint64_t off, struct host_extent *x) REQUIRES(&st->lock)
{
	const struct reply *r = st->kept;

	if (!r || off < r->start || off >= end_of(s, r) ||
	    nbd_now_ms() > st->until_ms)
		return false;
	answer(s, r, off, x);
	return true;
}

int nbd_status_map(struct hostfile *f, uint64_t off, uint64_t len,
    struct host_extent *x, struct err *e)
{
	struct nbd_store *s = f->priv;
	struct nbd_status *st = s->status;
	struct reply *r;
	uint64_t writes;
	bool found;

	if (!s->facts.status)
		return 0;
	mutex_lock(&st->lock);
	found = find_kept(s, st, off, x);
	writes = st->writes;
	mutex_unlock(&st->lock);
	if (found)
		return 0;
	r = ask(f, off, len, e);
	if (!r)
		return -1;
	answer(s, r, off, x);
	mutex_lock(&st->lock);
	if (st->writes == writes) {
		free(st->kept);
		st->kept = take(r);
		st->until_ms = nbd_now_ms() + KEEP_MS;
	}
	mutex_unlock(&st->lock);
	free(r);
	return 0;
}
