/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * One client: see conn.h.
 *
 * Bytes arrive in `in`; the payload of a write that did not arrive whole is
 * read straight into its request (`filling`).  The reader takes a request out
 * of the buffer only when the outbox admits it: a client over its budget is
 * not read from (`full`) until replies have gone out, one over its rate until
 * time has passed.
 *
 * How a client asks is a habit: one that waits for each reply (one_by_one) is
 * served without help from other threads, and waited for more eagerly.
 *
 * Reading ends for good at a DISC, the end of the stream, or a broken request;
 * then the reader waits for the replies to go, with a limit for a client that
 * does not take them.  A stop ends the stream where it is: what has arrived by
 * then is answered, and not much of what a client sends nevertheless.
 */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "core/cleanup.h"
#include "core/units.h"
#include "image.h"

#include "conn.h"
#include "exec.h"
#include "handshake.h"
#include "intent.h"
#include "log.h"
#include "meter.h"
#include "nbd.h"
#include "outbox.h"
#include "task.h"
#include "sched.h"
#include "session.h"
#include "spin.h"
#include "stats.h"
#include "stream.h"

#define IN_LEN	 (64 * KiB)
#define HABIT_N	 8	   /* requests that show how a client asks */
#define LATE_MAX (8 * MiB) /* more than a socket holds */
#define DRAIN_MS 5000	   /* then a client that takes no reply is dropped */

struct conn {
	struct stream *stream;
	const struct conn_shared *shared;
	struct session session;
	bool negotiated;
	struct outbox out;
	struct meter meter;
	struct lane lane;
	struct batch *batch;
	_Atomic bool stopping;
	_Atomic bool serving; /* requests, no options any more */

	bool reading;	      /* more requests may come          */
	bool full;	      /* the next request has to wait ... */
	unsigned slow_ms;     /* ... for so long; 0: for replies to go */
	struct task *filling; /* its payload is arriving         */
	size_t filled;	      /* bytes of it that are there      */
	uint64_t skip;	      /* bytes of payload to ignore      */
	bool long_data;	      /* the last one did not fit into `in` */
	size_t in_at, in_end; /* what is not looked at yet       */
	size_t late;	      /* bytes read since the stop       */
	bool ahead;	      /* the next request came before a reply   */
	unsigned waited_n;    /* requests in a row that did not         */
	struct spin spin;
	uint8_t in[IN_LEN];
};

struct conn *conn_new(
    struct stream *s, const struct conn_shared *shared, struct err *e)
{
	struct conn *c = malloc(sizeof *c);

	if (!c) {
		err_nomem(e);
		return NULL;
	}
	memset(c, 0, offsetof(struct conn, in));
	c->stream = s;
	c->shared = shared;
	c->reading = true;
	meter_init(&c->meter, shared->client_rate);
	c->batch = batch_new(e);
	if (!c->batch ||
	    outbox_init(&c->out, s,
		shared->requests_max ? shared->requests_max : OUTBOX_REQUESTS,
		e)) {
		batch_free(c->batch);
		free(c);
		return NULL;
	}
	return c;
}

void conn_free(struct conn *c)
{
	if (!c)
		return;
	outbox_destroy(&c->out);
	batch_free(c->batch);
	free(c);
}

void conn_release(struct conn *c)
{
	export_release(take(c->session.export));
}

bool conn_negotiated(const struct conn *c)
{
	return c->negotiated;
}

const struct session *conn_session(const struct conn *c)
{
	return &c->session;
}

struct outbox *conn_outbox(struct conn *c)
{
	return &c->out;
}

struct batch *conn_batch(struct conn *c)
{
	return c->batch;
}

struct batch *conn_take_batch(struct conn *c)
{
	struct err e = ERR_INIT;
	struct batch *fresh = batch_new(&e), *old = c->batch;

	if (!fresh)
		return NULL;
	c->batch = fresh;
	return old;
}

bool conn_sends_files(const struct conn *c)
{
	return c->stream->send_file != NULL;
}

bool conn_one_by_one(const struct conn *c)
{
	return c->waited_n >= HABIT_N;
}

void conn_submit(struct conn *c, struct job *j)
{
	sched_submit(c->shared->sched, &c->lane, j);
}

/* The reader may be waiting for the socket or for the outbox.  In the
   negotiation it goes on to read, to say that the server ends. */
void conn_stop(struct conn *c)
{
	c->stopping = true;
	if (c->serving)
		shutdown(c->stream->fd, SHUT_RD);
	outbox_wake(&c->out);
}

static void begin_serving(struct conn *c)
{
	c->serving = true;
	if (c->stopping)
		shutdown(c->stream->fd, SHUT_RD);
}

/* ---- requests from bytes ----------------------------------------------- */

static void stop_reading(struct conn *c)
{
	if (!c->reading)
		return;
	c->reading = false;
	if (c->filling) {
		outbox_release(&c->out, c->filling->charge);
		task_free(take(c->filling));
	}
	outbox_drain(&c->out);
}

/*
 * Begins the request whose header is at in_at, unless the client is over its
 * budget or its rate.  False when no more can come.
 */
static bool begin(struct conn *c, struct task_list *arrived)
{
	struct intent t;
	struct task *r;

	if (!intent_read(&t, c->in + c->in_at, &c->session, c->stopping))
		return false;
	c->slow_ms = t.error ? 0 : meter_wait_ms(&c->meter);
	c->full = c->slow_ms || !outbox_admit(&c->out, t.charge);
	if (c->full)
		return true;
	meter_take(&c->meter, intent_data_len(&t));
	r = intent_task(&t, c);
	if (!r) {
		outbox_release(&c->out, t.charge);
		return false;
	}
	r->charge = t.charge;
	c->in_at += wire_request_len(c->session.extended);
	c->long_data = t.rq.payload >= IN_LEN && !r->error;
	if (t.rq.payload && !r->error) {
		c->filling = r;
		c->filled = 0;
		return true;
	}
	c->skip = t.rq.payload;
	task_append(arrived, r);
	return true;
}

/* Moves bytes of a payload from `in` to where they belong. */
static void take_payload(struct conn *c, struct task_list *arrived)
{
	size_t have = c->in_end - c->in_at, n;

	n = min_u64(c->skip, have);
	c->skip -= n;
	if (c->filling) {
		n = min_u64(c->filling->rq.payload - c->filled, have);
		memcpy(c->filling->data + c->filled, c->in + c->in_at, n);
		c->filled += n;
		if (c->filled == c->filling->rq.payload) {
			task_arrived(c->filling, &c->session);
			task_append(arrived, take(c->filling));
		}
	}
	c->in_at += n;
}

/* All requests that have arrived whole. */
static void parse(struct conn *c, struct task_list *arrived)
{
	c->full = false;
	for (;;) {
		take_payload(c, arrived);
		if (c->skip || c->filling ||
		    c->in_end - c->in_at <
			wire_request_len(c->session.extended))
			break;
		if (!begin(c, arrived)) {
			stop_reading(c);
			break;
		}
		if (c->full)
			break;
	}
	memmove(c->in, c->in + c->in_at, c->in_end - c->in_at);
	c->in_end -= c->in_at;
	c->in_at = 0;
}

/* ---- the reader -------------------------------------------------------- */

/*
 * Returns whether there are new bytes, or the end.  After a long write another
 * one is likely, and a header alone is taken: what follows it can go straight
 * to where it belongs.
 */
static bool receive(struct conn *c, bool wait)
{
	struct task *r = c->filling;
	uint8_t *p = r ? r->data + c->filled : c->in + c->in_end;
	size_t room =
	    c->long_data ? wire_request_len(c->session.extended) : IN_LEN;
	size_t len = r ? r->rq.payload - c->filled : room - c->in_end;
	ssize_t n = c->stream->read(c->stream, p, len, wait);

	if (n < 0 && errno == EAGAIN)
		return false;
	if (n <= 0)
		stop_reading(c);
	else if (r)
		c->filled += (size_t)n;
	else
		c->in_end += (size_t)n;
	if (n > 0 && !r && c->stopping)
		c->late += (size_t)n;
	if (c->late > LATE_MAX)
		stop_reading(c);
	return true;
}

static void wait_event(
    struct conn *c, bool want_read, const struct outbox_state *st)
{
	bool slow = c->reading && c->full && c->slow_ms;
	/* Who leaves in debt, with nothing in flight, need not pay first. */
	short events = (want_read ? POLLIN : 0) | (st->blocked ? POLLOUT : 0) |
		       (slow && !st->n ? POLLRDHUP : 0);
	struct pollfd p[] = {
	    /* a socket nobody asks about would report its end for ever */
	    {.fd = events || slow ? c->stream->fd : -1, .events = events},
	    {.fd = c->out.wake_fd, .events = POLLIN},
	};
	bool limit = st->blocked && (!c->reading || c->stopping);
	int n = poll(p, ARRAY_N(p),
	    limit  ? DRAIN_MS
	    : slow ? (int)c->slow_ms
		   : -1);

	if (!n && limit) {
		log_debug("a client that takes no replies is dropped");
		outbox_kill(&c->out);
	}
	if (n <= 0)
		return;
	if (p[1].revents)
		outbox_woken(&c->out);
	if (st->blocked && p[0].revents & ~POLLIN)
		outbox_unblock(&c->out);
	if (slow && p[0].revents & (POLLHUP | POLLERR | POLLRDHUP))
		outbox_kill(&c->out);
}

/* With nothing else in flight nobody but the client can wake this thread, and a
   stop ends the read. */
static void wait_bytes(struct conn *c, const struct outbox_state *st)
{
	bool found;

	if (st->blocked || st->n > (c->filling ? 1 : 0)) {
		wait_event(c, true, st);
		receive(c, false);
		return;
	}
	if (!st->n && conn_one_by_one(c) && spin_begin(&c->spin)) {
		do
			found = receive(c, false);
		while (!found && spin_more(&c->spin));
		spin_end(&c->spin, found);
		if (found)
			return;
	}
	receive(c, true);
}

/* Bytes that are there at once came before the client can have seen the last
   reply. */
static void take_bytes(struct conn *c, const struct outbox_state *st)
{
	bool between = !c->filling && !c->skip && !c->in_end;
	bool here = !st->blocked && receive(c, false);

	if (!here)
		wait_bytes(c, st);
	if (between)
		c->ahead = here || outbox_state(&c->out).n;
}

/* One turn of the reader; false when the client is done with. */
static bool turn(struct conn *c)
{
	struct outbox_state st = outbox_state(&c->out);
	bool want_read = c->reading && !c->full;
	struct task_list arrived = {0};

	if (st.dead) {
		stop_reading(c);
		want_read = false;
	}
	if (!c->reading && !st.n)
		return false;
	if (want_read)
		take_bytes(c, &st);
	else
		wait_event(c, false, &st);
	if (c->reading)
		parse(c, &arrived);
	if (arrived.head)
		c->waited_n = !c->ahead && arrived.head == arrived.last
				  ? c->waited_n + 1
				  : 0;
	exec_round(c, &arrived);
	return true;
}

void conn_run(struct conn *c)
{
	struct handshake h = {
	    .stream = c->stream,
	    .shared = c->shared,
	    .wake_fd = c->out.wake_fd,
	    .stopping = &c->stopping,
	    .session = &c->session,
	};
	struct stats *stats;

	c->negotiated = handshake_run(&h);
	if (!c->negotiated)
		return;
	begin_serving(c);
	log_export(c->session.export->name);
	stats = c->session.export->stats;
	if (stats) {
		stats->clients_ever++;
		stats->clients++;
	}
	while (turn(c))
		;
	if (stats)
		stats->clients--;
}
