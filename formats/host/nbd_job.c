/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Jobs: the commands of one request, many in flight on one connection; and
 * what happens when a connection is lost.
 *
 * A job whose connection is lost is done again on another, from its start:
 * every command can be.  What cannot be done again are writes that the server
 * has acknowledged and may have lost, if none of its flushes came after them.
 * With reconnect-delay=0 nothing is written any more then; who sets it takes
 * the server's word that it kept them.
 */
#include <errno.h>
#include <string.h>
#include <time.h>

#include "../core/units.h"
#include "nbd.h"

#define CONNECT_MS 30000u /* for a connection, handshake and all */
#define EXTRA_MS   3000u  /* for one that we can do without */
#define PAUSE_MS   200u	  /* between attempts to connect */

/* ---- commands in flight -------------------------------------------------- */

struct call;

struct flight {
	struct call *call; /* NULL: free */
	int *error;
	uint64_t due; /* bytes of a read that have not come yet */
};

struct call {
	struct nbd_conn *c;
	unsigned left;
	bool parked;
	struct flight flight[NBD_WINDOW];
};

/* libnbd's answer for one command; the connection is locked. */
static int on_done(void *arg, int *error)
{
	struct flight *f = arg;
	struct call *call = f->call;

	if (!*error && f->due)
		*error = EIO;
	if (*error && !*f->error)
		*f->error = *error;
	f->call = NULL;
	call->left--;
	call->c->ended |= call->parked;
	return 1;
}

/* libnbd does not see whether a server sends all that was asked for. */
static int on_chunk(void *arg, const void *buf, size_t len, uint64_t off,
    unsigned status, int *error)
{
	struct flight *f = arg;

	(void)buf, (void)off, (void)status;
	if (len > f->due)
		*error = EIO;
	f->due -= min_u64(len, f->due);
	return *error ? -1 : 0;
}

static int64_t put(
    struct nbd_conn *c, const struct nbd_cmd *cmd, struct flight *f)
{
	const struct nbd_lib *lib = c->store->lib;
	const nbd_completion_callback done = {
	    .callback = on_done, .user_data = f};
	const nbd_chunk_callback chunk = {.callback = on_chunk, .user_data = f};

	switch (cmd->op) {
	case NBD_OP_READ:
		f->due = cmd->len;
		return lib->aio_pread_structured(c->h, cmd->buf, cmd->len,
		    cmd->off, chunk, done, cmd->flags);
	case NBD_OP_WRITE:
		return lib->aio_pwrite(
		    c->h, cmd->buf, cmd->len, cmd->off, done, cmd->flags);
	case NBD_OP_ZERO:
		return lib->aio_zero(
		    c->h, cmd->len, cmd->off, done, cmd->flags);
	case NBD_OP_TRIM:
		return lib->aio_trim(
		    c->h, cmd->len, cmd->off, done, cmd->flags);
	case NBD_OP_FLUSH:
		return lib->aio_flush(c->h, done, cmd->flags);
	case NBD_OP_STATUS:
		return lib->aio_block_status(
		    c->h, cmd->len, cmd->off, cmd->extents, done, cmd->flags);
	}
	return -1;
}

static void submit(struct nbd_conn *c, struct call *call,
    const struct nbd_cmd *cmd) REQUIRES(&c->lock)
{
	struct flight *f = call->flight;

	while (f->call)
		f++;
	*f = (struct flight){.call = call, .error = cmd->error};
	if (!call->left++ && !c->polling)
		c->alive_ms = nbd_now_ms();
	if (put(c, cmd, f) >= 0 || !f->call)
		return;
	/* Refused, and libnbd has forgotten it. */
	f->call = NULL;
	call->left--;
	if (!*cmd->error)
		*cmd->error = c->store->lib->get_errno();
	if (!*cmd->error)
		*cmd->error = EIO;
}

/* All commands of the job.  False: the connection was lost. */
static bool run_on(struct nbd_conn *c, struct nbd_job *job) REQUIRES(&c->lock)
{
	struct call call = {.c = c};
	unsigned serial = c->serial;
	struct nbd_cmd cmd;
	bool more = true;

	while (more || call.left) {
		while (more && call.left < NBD_WINDOW && !nbd_conn_lost(c)) {
			cmd = job->cmd;
			cmd.error = &job->error;
			more = !job->error && job->next(job, &cmd);
			if (more)
				submit(c, &call, &cmd);
		}
		if (nbd_conn_lost(c) || serial != c->serial)
			return false;
		if (!call.left)
			break;
		if (c->polling && c->store->lib->aio_get_direction(c->h) &
				      LIBNBD_AIO_DIRECTION_WRITE)
			nbd_conn_wake(c);
		nbd_conn_wait(c, &call.parked);
		if (serial != c->serial)
			return false;
	}
	return true;
}

/* ---- connections --------------------------------------------------------- */

/*
 * A flush is for a connection that was there before what it makes durable was
 * written.  A newer one may be to a server that was started since, which has
 * nothing to flush; and nobody may have looked yet whether the old one is lost.
 */
static bool may_carry(const struct nbd_conn *c, enum nbd_op op)
{
	return op != NBD_OP_FLUSH ||
	       atomic_load(&c->since) <= atomic_load(&c->store->durable);
}

/* One that nobody uses, or the least used one. */
static struct nbd_conn *choose(struct nbd_store *s, enum nbd_op op)
{
	unsigned n = atomic_load(&s->conn_n), best_jobs = UINT32_MAX;
	struct nbd_conn *best = s->conn;

	for (unsigned i = 0; i < n && best_jobs; i++) {
		unsigned jobs = atomic_load(&s->conn[i].jobs);

		if (jobs >= best_jobs || !may_carry(&s->conn[i], op))
			continue;
		best = &s->conn[i];
		best_jobs = jobs;
	}
	return best;
}

static bool changes(enum nbd_op op)
{
	return op == NBD_OP_WRITE || op == NBD_OP_ZERO || op == NBD_OP_TRIM;
}

/* Acknowledged is not yet durable; counted before the loss of the connection
 * can be seen. */
static void ran(struct nbd_conn *c, const struct nbd_job *job)
    REQUIRES(&c->lock)
{
	if (changes(job->cmd.op) && !(job->cmd.flags & LIBNBD_CMD_FLAG_FUA))
		atomic_fetch_add(&c->store->changes, 1);
}

/* Fewer connections than we would like are no error. */
static int connect_extra(struct nbd_conn *c) REQUIRES(&c->lock)
{
	struct nbd_store *s = c->store;
	struct err ignored = ERR_INIT;

	if (!nbd_conn_open(c, EXTRA_MS, &ignored))
		return 0;
	atomic_store(&s->conn_n, (unsigned)(c - s->conn));
	return -1;
}

static int refuse_lost(
    const struct nbd_job *job, const struct nbd_store *s, struct err *e)
{
	if (!atomic_load(&s->lost) ||
	    (!changes(job->cmd.op) && job->cmd.op != NBD_OP_FLUSH))
		return 0;
	return err_set(e, ERR_SYSTEM, EIO,
	    "the connection was lost, and with it perhaps what was written "
	    "since the last flush");
}

enum outcome { RAN, LOST, STALLED, REFUSED, NO_CONNECTION, NO_EXTRA };

static enum outcome try_once(
    struct nbd_conn *c, struct nbd_job *job, struct err *e)
{
	enum outcome out = RAN;

	mutex_lock(&c->lock);
	if (refuse_lost(job, c->store, e))
		out = REFUSED;
	else if (!c->h && c == c->store->conn &&
		 nbd_conn_open(c, CONNECT_MS, e))
		out = NO_CONNECTION;
	else if (!c->h && connect_extra(c))
		out = NO_EXTRA;
	else if (!run_on(c, job))
		out = c->stalled ? STALLED : LOST;
	else
		ran(c, job);
	if (out == LOST || out == STALLED)
		memcpy(job->why, c->why, sizeof job->why);
	nbd_conn_pass(c);
	mutex_unlock(&c->lock);
	return out;
}

/* ---- jobs ---------------------------------------------------------------- */

/* After a loss: may the job be done again?  Waits a little. */
static bool may_retry(
    struct nbd_store *s, enum outcome out, unsigned tries, uint64_t begun_ms)
{
	const struct timespec pause = {.tv_nsec = PAUSE_MS * 1000000};
	uint64_t limit = s->address.reconnect_s * 1000;

	if (out == NO_EXTRA)
		return true;
	if (!limit)
		return out == LOST && !tries;
	if (nbd_now_ms() - begun_ms >= limit)
		return false;
	if (out == NO_CONNECTION || tries)
		nanosleep(&pause, NULL);
	return true;
}

static int give_up(const struct nbd_job *job, enum outcome out, struct err *e)
{
	if (out == LOST || out == STALLED)
		return err_set(e, ERR_SYSTEM, EIO,
		    "the connection was lost: %s",
		    job->why[0] ? job->why : "the server closed it");
	if (out == NO_CONNECTION && job->why[0])
		err_prefix(e, "the connection was lost (%s): ", job->why);
	return -1;
}

int nbd_run(struct nbd_store *s, struct nbd_job *job, struct err *e)
{
	const struct nbd_place start = job->at;
	uint64_t begun_ms = nbd_now_ms();

	for (unsigned tries = 0;; tries++) {
		struct nbd_conn *c;
		enum outcome out;

		c = choose(s, job->cmd.op);
		atomic_fetch_add(&c->jobs, 1);
		out = try_once(c, job, e);
		atomic_fetch_sub(&c->jobs, 1);
		if (out == RAN)
			return 0;
		if (!may_retry(s, out, tries, begun_ms))
			return give_up(job, out, e);
		err_clear(e);
		job->at = start;
		job->error = 0;
	}
}
