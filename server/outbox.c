/* SPDX-License-Identifier: BSD-3-Clause */
/* Replies on their way to one client: see outbox.h. */
#include <assert.h>
#include <errno.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "core/units.h"

#include "nbd.h"
#include "outbox.h"

#define CHARGE_MAX   NBD_PAYLOAD_MAX /* one request always fits  */
#define IOV_MAX_SENT 512

int outbox_init(
    struct outbox *o, struct stream *s, unsigned requests_max, struct err *e)
{
	*o = (struct outbox){.stream = s, .requests_max = requests_max};
	o->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (o->wake_fd < 0)
		return err_sys(e, errno, "eventfd");
	mutex_init(&o->lock);
	return 0;
}

void outbox_destroy(struct outbox *o)
{
	mutex_lock(&o->lock);
	assert(!o->n && !o->queue.head);
	mutex_unlock(&o->lock);
	mutex_destroy(&o->lock);
	close(o->wake_fd);
}

void outbox_wake(struct outbox *o)
{
	eventfd_write(o->wake_fd, 1);
}

void outbox_woken(struct outbox *o)
{
	eventfd_t n;

	eventfd_read(o->wake_fd, &n);
}

bool outbox_admit(struct outbox *o, uint64_t charge)
{
	bool ok;

	mutex_lock(&o->lock);
	ok = !o->n || (o->n < o->requests_max && o->len + charge <= CHARGE_MAX);
	if (ok) {
		o->n++;
		o->len += charge;
	}
	o->starved = !ok;
	mutex_unlock(&o->lock);
	return ok;
}

/* n requests with charges of len bytes in all have ended. */
static void give_back(struct outbox *o, unsigned n, uint64_t len)
    REQUIRES(o->lock)
{
	if (!n)
		return;
	o->n -= n;
	o->len -= len;
	if (o->starved || (o->drain && !o->n))
		outbox_wake(o);
	o->starved = false;
}

void outbox_release(struct outbox *o, uint64_t charge)
{
	mutex_lock(&o->lock);
	give_back(o, 1, charge);
	mutex_unlock(&o->lock);
}

/* Takes the first n requests out of the queue, for the caller to free. */
static void retire(struct outbox *o, unsigned n, struct task_list *done)
    REQUIRES(o->lock)
{
	uint64_t len = 0;

	for (unsigned i = 0; i < n; i++) {
		struct task *r = o->queue.head;

		o->queue.head = r->next;
		len += r->charge;
		task_append(done, r);
	}
	give_back(o, n, len);
}

static void free_list(struct task_list *l)
{
	while (l->head) {
		struct task *r = l->head;

		l->head = r->next;
		task_free(r);
	}
}

/* ---- sending ----------------------------------------------------------- */

/* Adds bytes [skip, len) to the vector; returns what is left of `skip`. */
static size_t add(
    struct iovec *iov, int *n, const void *buf, size_t len, size_t skip)
{
	if (skip >= len)
		return skip - len;
	iov[*n].iov_base = (uint8_t *)buf + skip;
	iov[*n].iov_len = len - skip;
	++*n;
	return 0;
}

/*
 * What is queued and not sent yet: a vector, and where it is cut by data that
 * is in a file, that chunk, with the bytes of it that are sent.
 */
struct next {
	struct iovec iov[IOV_MAX_SENT];
	int n;
	const struct chunk *placed; /* NULL: none follows */
	size_t placed_sent;
};

static void gather(struct outbox *o, struct next *x) REQUIRES(o->lock)
{
	x->n = 0;
	x->placed = NULL;
	for (const struct task *r = o->queue.head; r; r = r->next) {
		for (size_t i = r->sent_n; i < r->chunk_n; i++) {
			const struct chunk *c = &r->chunk[i];
			size_t skip = i == r->sent_n ? r->sent : 0;

			if (x->n + 2 > IOV_MAX_SENT)
				return;
			skip = add(x->iov, &x->n, c->head, c->head_len, skip);
			if (c->placed) {
				x->placed = c;
				x->placed_sent = skip;
				return;
			}
			add(x->iov, &x->n, c->data, c->data_len, skip);
		}
	}
}

/* `len` more bytes are sent. */
static void advance(struct outbox *o, size_t len, struct task_list *done)
    REQUIRES(o->lock)
{
	unsigned ended = 0;

	for (struct task *r = o->queue.head; r && len; r = r->next) {
		while (r->sent_n < r->chunk_n && len) {
			const struct chunk *c = &r->chunk[r->sent_n];
			size_t left = c->head_len + c->data_len - r->sent;
			size_t n = min_u64(left, len);

			r->sent += n;
			len -= n;
			if (n == left) {
				r->sent = 0;
				r->sent_n++;
			}
		}
		ended += r->sent_n == r->chunk_n;
	}
	retire(o, ended, done);
}

static void throw_away(struct outbox *o, struct task_list *done)
    REQUIRES(o->lock)
{
	unsigned n = 0;

	for (const struct task *r = o->queue.head; r; r = r->next)
		n++;
	retire(o, n, done);
}

static ssize_t send_next(struct stream *s, const struct next *x)
{
	const struct chunk *c = x->placed;
	ssize_t n;

	if (x->n)
		return s->writev(s, x->iov, x->n, c != NULL);
	n = s->send_file(s, c->place.fd, c->place.off + x->placed_sent,
	    c->data_len - x->placed_sent);
	/* The file was cut short: there is no way to say so any more. */
	errno = n ? errno : EIO;
	return n ? n : -1;
}

/* One call for all that is queued.  The queue's front is the sender's; others
   only append to its end. */
static void send_some(struct outbox *o, struct task_list *done)
    REQUIRES(o->lock)
{
	struct next x;
	ssize_t n;
	int error;

	gather(o, &x);
	mutex_unlock(&o->lock);
	n = send_next(o->stream, &x);
	error = errno;
	mutex_lock(&o->lock);
	if (n >= 0) {
		advance(o, (size_t)n, done);
		return;
	}
	o->blocked = error == EAGAIN;
	o->dead |= !o->blocked;
	outbox_wake(o);
}

static void append(struct outbox *o, const struct task_list *l)
    REQUIRES(o->lock)
{
	if (o->queue.head)
		o->queue.last->next = l->head;
	else
		o->queue.head = l->head;
	o->queue.last = l->last;
}

void outbox_send(struct outbox *o, const struct task_list *l)
{
	struct task_list done = {0};

	mutex_lock(&o->lock);
	if (l->head)
		append(o, l);
	if (!o->sending && !o->blocked) {
		o->sending = true;
		while (o->queue.head && !o->blocked && !o->dead)
			send_some(o, &done);
		if (o->dead)
			throw_away(o, &done);
		o->sending = false;
	}
	mutex_unlock(&o->lock);
	free_list(&done);
}

/* ---- the reader's side ------------------------------------------------- */

struct outbox_state outbox_state(struct outbox *o)
{
	struct outbox_state st;

	mutex_lock(&o->lock);
	st.n = o->n;
	st.blocked = o->blocked;
	st.dead = o->dead;
	mutex_unlock(&o->lock);
	return st;
}

void outbox_unblock(struct outbox *o)
{
	mutex_lock(&o->lock);
	o->blocked = false;
	mutex_unlock(&o->lock);
}

void outbox_drain(struct outbox *o)
{
	mutex_lock(&o->lock);
	o->drain = true;
	if (!o->n)
		outbox_wake(o);
	mutex_unlock(&o->lock);
}

void outbox_kill(struct outbox *o)
{
	mutex_lock(&o->lock);
	o->dead = true;
	o->blocked = false;
	mutex_unlock(&o->lock);
	outbox_send(o, &(struct task_list){0});
}
