/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Doing what requests ask for: see exec.h.
 *
 * Between img_plan() and img_finish() the core keeps what a request saw; so a
 * round finishes all that it planned before it does anything that waits.
 */
#include <stdlib.h>

#include "core/units.h"
#include "core/zero.h"
#include "image.h"

#include "conn.h"
#include "exec.h"
#include "export.h"
#include "nbd.h"
#include "outbox.h"
#include "task.h"
#include "stats.h"
#include "status.h"

/* Data that goes from the page cache to the client while a core's cache still
   has it, bytes. */
#define ROUND_LEN (256 * KiB)

/* Shorter data is cheaper to copy than to send from its file, bytes. */
#define PLACED_MIN (32 * KiB)

/* Counts them, too: when they are sent they may be gone. */
static void send_replies(struct conn *c, const struct task_list *ready)
{
	struct stats *stats = conn_session(c)->export->stats;

	if (stats && ready->head)
		stats_add(stats, ready);
	outbox_send(conn_outbox(c), ready);
}

#define LONG_WRITE (64 * KiB)

/* ---- in a worker ------------------------------------------------------- */

static int do_chunks(struct task *r, const struct export *x, struct err *e)
{
	for (size_t i = 0; i < r->chunk_n; i++) {
		struct chunk *c = &r->chunk[i];
		struct img_request *io = &c->io;
		int rc;

		if (c->state != CHUNK_TODO)
			continue;
		rc = io->op == IMG_WRITE
			 ? img_pwrite(
			       x->img, io->buf, io->len, io->off, io->flags, e)
			 : img_pread(x->img, io->buf, io->len, io->off, e);
		if (rc)
			return -1;
	}
	return 0;
}

static int do_zero(
    const struct task *r, const struct export *x, unsigned flags, struct err *e)
{
	if (!(r->rq.flags & NBD_CMD_FLAG_NO_HOLE))
		flags |= IMG_MAY_TRIM;
	if (r->rq.flags & NBD_CMD_FLAG_FAST_ZERO)
		flags |= IMG_FAST;
	return img_zero(x->img, r->rq.len, x->start + r->rq.off, flags, e);
}

static int do_command(struct task *r, const struct session *s, struct err *e)
{
	const struct export *x = s->export;
	unsigned flags = r->rq.flags & NBD_CMD_FLAG_FUA ? IMG_FUA : 0;
	uint64_t off = x->start + r->rq.off;

	switch ((enum nbd_command)r->rq.type) {
	case NBD_CMD_READ:
	case NBD_CMD_WRITE:
		return do_chunks(r, x, e);
	case NBD_CMD_FLUSH:
		return img_flush(x->img, e);
	case NBD_CMD_TRIM:
		return img_trim(x->img, r->rq.len, off, flags, e);
	case NBD_CMD_CACHE:
		return img_prefetch(x->img, r->rq.len, off, e);
	case NBD_CMD_WRITE_ZEROES:
		return do_zero(r, x, flags, e);
	case NBD_CMD_BLOCK_STATUS:
		return status_answer(r, s, e);
	case NBD_CMD_DISC:
		break;
	}
	return 0;
}

static void work(struct task *r)
{
	struct err e = ERR_INIT;

	if (do_command(r, conn_session(r->conn), &e))
		task_fail_err(r, &e);
}

static void run_job(struct job *j)
{
	struct task *r = (struct task *)j;
	struct task_list l = {0};

	work(r);
	task_reply(r);
	task_append(&l, r);
	send_replies(r->conn, &l);
}

/* ---- in the reader ----------------------------------------------------- */

/*
 * Does it do so little that it is done in the round?  A long write does not:
 * the reader takes in the next one while a worker stores it.  Where none comes
 * before the reply, it holds up nobody.
 */
static bool is_planned(const struct task *r, struct conn *c)
{
	if (r->rq.type == NBD_CMD_READ)
		return true;
	return r->rq.type == NBD_CMD_WRITE &&
	       !(r->rq.flags & NBD_CMD_FLAG_FUA) &&
	       (r->rq.len < LONG_WRITE || conn_one_by_one(c));
}

/* Can it be sent from where it is? */
static int place(struct chunk *c, struct conn *conn, struct err *e)
{
	const struct export *x = conn_session(conn)->export;
	int rc;

	if (c->hole || c->len < PLACED_MIN || !conn_sends_files(conn))
		return 0;
	rc = img_place(x->img, c->len, x->start + c->off, &c->place, e);
	c->placed = rc == 1;
	return rc < 0 ? -1 : 0;
}

static int set_io(
    struct task *r, struct chunk *c, const struct export *x, struct err *e)
{
	if (c->hole || c->placed)
		return 0;
	if (task_buffer(r, e))
		return -1;
	c->io = (struct img_request){
	    .op = r->rq.type == NBD_CMD_WRITE ? IMG_WRITE : IMG_READ,
	    .flags = r->rq.flags & NBD_CMD_FLAG_FUA ? IMG_FUA : 0,
	    .buf = r->data + (c->off - r->rq.off),
	    .len = c->len,
	    .off = x->start + c->off,
	};
	c->state = CHUNK_TODO;
	return 0;
}

static int split(struct task *r, const struct session *s, struct err *e)
{
	if (!r->rq.len)
		return 0;
	if (r->rq.type == NBD_CMD_READ)
		return status_split(r, s, e);
	return task_chunk(r, r->rq.off, r->rq.len) ? 0 : err_nomem(e);
}

/* Cuts the request into chunks, and plans those that can be. */
static int plan(struct task *r, struct conn *c, struct err *e)
{
	const struct session *s = conn_session(c);

	if (split(r, s, e))
		return -1;
	for (size_t i = 0; i < r->chunk_n; i++) {
		struct chunk *k = &r->chunk[i];
		int rc;

		if (r->rq.type == NBD_CMD_READ && place(k, c, e))
			return -1;
		if (set_io(r, k, s->export, e))
			return -1;
		if (k->state != CHUNK_TODO || !is_planned(r, c))
			continue;
		rc = img_plan(s->export->img, &k->io, conn_batch(c), e);
		if (rc < 0)
			return -1;
		if (rc)
			k->state = CHUNK_PLANNED;
	}
	return 0;
}

static bool has_chunk(const struct task *r, enum chunk_state state)
{
	for (size_t i = 0; i < r->chunk_n; i++)
		if (r->chunk[i].state == state)
			return true;
	return false;
}

/* What was planned is finished even when the request has failed. */
static void finish(struct task *r, const struct export *x, struct err *e)
{
	for (size_t i = 0; i < r->chunk_n; i++) {
		struct chunk *c = &r->chunk[i];

		if (c->state != CHUNK_PLANNED)
			continue;
		c->state = CHUNK_READY;
		if (img_finish(x->img, &c->io, e)) {
			task_fail_err(r, e);
			err_clear(e);
		}
	}
}

static bool has_data(const struct task *r)
{
	return r->rq.type == NBD_CMD_READ || r->rq.type == NBD_CMD_WRITE;
}

/* A write of nothing but zeroes becomes a request for them. */
static void detect_zeroes(struct task *r, const struct export *x)
{
	if (x->detect_zeroes == DETECT_ZEROES_OFF || r->error ||
	    r->rq.type != NBD_CMD_WRITE || !r->rq.len ||
	    !is_zero(r->data, r->rq.len))
		return;
	r->rq.type = NBD_CMD_WRITE_ZEROES;
	r->rq.flags &= NBD_CMD_FLAG_FUA;
	if (x->detect_zeroes == DETECT_ZEROES_ON)
		r->rq.flags |= NBD_CMD_FLAG_NO_HOLE;
}

/* Returns whether the request has something in the batch. */
static bool start(struct task *r, struct conn *c, struct err *e)
{
	detect_zeroes(r, conn_session(c)->export);
	if (r->error || !has_data(r))
		return false;
	if (plan(r, c, e)) {
		task_fail_err(r, e);
		err_clear(e);
	}
	return has_chunk(r, CHUNK_PLANNED);
}

/* Is there work left that only a worker may do? */
static bool is_job(const struct task *r)
{
	if (r->error)
		return false;
	if (has_data(r))
		return has_chunk(r, CHUNK_TODO);
	return r->rq.len || r->rq.type == NBD_CMD_FLUSH;
}

/* What is in storage only waits together, away from the reader. */
struct late {
	struct job job;
	struct conn *conn;
	struct batch *batch;
	struct task_list tasks;
};

static struct task *pop(struct task_list *l)
{
	struct task *r = l->head;

	l->head = r->next;
	return r;
}

static bool is_ready(const struct task *r)
{
	for (size_t i = 0; i < r->chunk_n; i++)
		if (r->chunk[i].state == CHUNK_PLANNED &&
		    !img_ready(&r->chunk[i].io))
			return false;
	return true;
}

/* All are finished before one of them does more: that may wait. */
static void finish_all(const struct task_list *l, const struct export *x)
{
	struct err e = ERR_INIT;

	for (struct task *r = l->head; r; r = r->next)
		finish(r, x, &e);
}

static void run_late(struct job *j)
{
	struct late *late = (struct late *)j;
	struct conn *c = late->conn;
	struct task_list tasks = late->tasks, ready = {0};

	batch_wait(late->batch);
	batch_free(late->batch);
	finish_all(&tasks, conn_session(c)->export);
	free(late);
	while (tasks.head) {
		struct task *r = pop(&tasks);

		if (is_job(r))
			work(r);
		task_reply(r);
		task_append(&ready, r);
	}
	send_replies(c, &ready);
}

/* The rest of the batch and who waits for it; false: out of memory. */
static bool hand_over(struct conn *c, const struct task_list *tasks)
{
	struct late *late = malloc(sizeof *late);

	if (!late)
		return false;
	*late = (struct late){.job.run = run_late, .conn = c, .tasks = *tasks};
	late->batch = conn_take_batch(c);
	if (!late->batch) {
		free(late);
		return false;
	}
	conn_submit(c, &late->job);
	return true;
}

/* A job for a worker, or ready to be sent. */
static void settle(struct task *r, struct conn *c, struct task_list *ready)
{
	if (is_job(r)) {
		r->job.run = run_job;
		conn_submit(c, &r->job);
		return;
	}
	task_reply(r);
	task_append(ready, r);
}

/* Takes requests out of the list, at least one, and plans those that can be. */
static void plan_round(struct conn *c, struct task_list *arrived,
    struct task_list *planned, struct task_list *other)
{
	struct err e = ERR_INIT;
	uint64_t len = 0;

	while (arrived->head && len < ROUND_LEN) {
		struct task *r = pop(arrived);

		task_append(start(r, c, &e) ? planned : other, r);
		len += r->chunk_n ? r->rq.len : 0;
	}
}

static void one_round(struct conn *c, struct task_list *arrived)
{
	struct task_list planned = {0}, done = {0}, late = {0}, ready = {0};
	const struct export *x = conn_session(c)->export;

	plan_round(c, arrived, &planned, &done);
	if (planned.head) {
		batch_try(conn_batch(c));
		if (conn_one_by_one(c))
			batch_wait(conn_batch(c));
	}
	while (planned.head) {
		struct task *r = pop(&planned);

		task_append(is_ready(r) ? &done : &late, r);
	}
	finish_all(&done, x);
	if (late.head && !hand_over(c, &late)) {
		batch_wait(conn_batch(c));
		finish_all(&late, x);
		while (late.head)
			task_append(&done, pop(&late));
	}
	while (done.head)
		settle(pop(&done), c, &ready);
	send_replies(c, &ready);
}

/* With nothing new, too: replies may be waiting for the socket. */
void exec_round(struct conn *c, struct task_list *arrived)
{
	do
		one_round(c, arrived);
	while (arrived->head);
}
