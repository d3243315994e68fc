/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Doing what requests ask for: see exec.h.
 *
 * Between img_plan() and img_finish() the core keeps what a request saw; so a
 * round finishes all that it planned before it does anything that waits.
 */
#include "core/units.h"
#include "image.h"

#include "conn.h"
#include "exec.h"
#include "export.h"
#include "nbd.h"
#include "outbox.h"
#include "task.h"
#include "status.h"

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

static void run_job(struct job *j)
{
	struct task *r = (struct task *)j;
	struct outbox *o = conn_outbox(r->conn);
	struct task_list l = {0};
	struct err e = ERR_INIT;

	if (do_command(r, conn_session(r->conn), &e))
		task_fail_err(r, &e);
	task_reply(r);
	task_append(&l, r);
	outbox_send(o, &l);
}

/* ---- in the reader ----------------------------------------------------- */

/* One request does so little that it is done in the round. */
static bool is_planned(const struct task *r)
{
	return r->rq.type == NBD_CMD_READ ||
	       (r->rq.type == NBD_CMD_WRITE &&
		   !(r->rq.flags & NBD_CMD_FLAG_FUA));
}

static void set_io(struct task *r, struct chunk *c, const struct export *x)
{
	c->io = (struct img_request){
	    .op = r->rq.type == NBD_CMD_WRITE ? IMG_WRITE : IMG_READ,
	    .flags = r->rq.flags & NBD_CMD_FLAG_FUA ? IMG_FUA : 0,
	    .buf = r->data + (c->off - r->rq.off),
	    .len = c->len,
	    .off = x->start + c->off,
	};
	c->state = c->hole ? CHUNK_READY : CHUNK_TODO;
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
	for (size_t i = 0; i < r->chunk_n; i++)
		set_io(r, &r->chunk[i], s->export);
	for (size_t i = 0; i < r->chunk_n && is_planned(r); i++) {
		struct chunk *k = &r->chunk[i];
		int rc;

		if (k->hole)
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

/* Returns whether the request has something in the batch. */
static bool start(struct task *r, struct conn *c, struct err *e)
{
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

static void settle(struct task *r, struct conn *c, struct task_list *ready)
{
	if (is_job(r)) {
		r->job.run = run_job;
		conn_submit(c, r);
		return;
	}
	task_reply(r);
	task_append(ready, r);
}

void exec_round(struct conn *c, struct task_list *arrived)
{
	struct task_list planned = {0}, ready = {0};
	struct err e = ERR_INIT;
	struct task *next;

	for (struct task *r = arrived->head; r; r = next) {
		next = r->next;
		if (start(r, c, &e))
			task_append(&planned, r);
		else
			settle(r, c, &ready);
	}
	if (planned.head)
		batch_run(conn_batch(c));
	for (struct task *r = planned.head; r; r = next) {
		next = r->next;
		finish(r, conn_session(c)->export, &e);
		settle(r, c, &ready);
	}
	outbox_send(conn_outbox(c), &ready);
}
