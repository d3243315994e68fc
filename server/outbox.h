/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Replies on their way to one client, and the client's budget.
 *
 * A request is admitted before memory is taken for it, and counts until its
 * reply is sent or thrown away; so what a client can make the server hold is
 * bounded, however slowly it reads.
 *
 * Any thread may add replies: one at a time sends, all that are there in one
 * call, and nobody waits for the socket.  When the socket is
 * full, the client's reader waits for it (`blocked`).
 *
 * The reader waits with poll() on wake_fd too, which becomes readable when
 * another thread changed what it waits for: the outbox got blocked or dead,
 * a refused request may fit now, or the last request has ended in a drain.
 *
 * Threads: every function, any thread, unless it says "reader".
 */
#ifndef IMGD_OUTBOX_H
#define IMGD_OUTBOX_H

#include "core/lock.h"

#include "task.h"
#include "stream.h"

#define OUTBOX_REQUESTS	    256u /* in flight, if nothing else is said */
#define OUTBOX_REQUESTS_MAX 4096u

struct outbox {
	struct stream *stream;
	int wake_fd;
	unsigned requests_max; /* in flight */
	struct mutex lock;     /* guards all that follows */
	struct task_list queue;
	unsigned n;   /* requests admitted */
	uint64_t len; /* bytes of their charges */
	bool sending; /* a thread sends */
	bool blocked; /* the socket takes no more now */
	bool dead;    /* the client is gone */
	bool starved; /* a request was refused */
	bool drain;   /* no more requests will come */
};

/* What the reader needs to know before it waits. */
struct outbox_state {
	unsigned n;
	bool blocked, dead;
};

/* 0 < requests_max <= OUTBOX_REQUESTS_MAX */
int outbox_init(
    struct outbox *o, struct stream *s, unsigned requests_max, struct err *e);
/* Nothing is admitted any more. */
void outbox_destroy(struct outbox *o);

/* Reader.  False: not now. */
bool outbox_admit(struct outbox *o, uint64_t charge);
/* Gives up an admitted request that will have no reply. */
void outbox_release(struct outbox *o, uint64_t charge);
/*
 * Adds encoded replies, taking over the requests, and sends what can be sent.
 * An empty list is allowed.  One step: as soon as a reply is in the queue
 * another thread may send it, and then the client may end and the outbox with
 * it.
 */
void outbox_send(struct outbox *o, const struct task_list *l);

struct outbox_state outbox_state(struct outbox *o);
/* Wakes the reader. */
void outbox_wake(struct outbox *o);
/* Reader: after a wake-up. */
void outbox_woken(struct outbox *o);
/* Reader: the socket takes more. */
void outbox_unblock(struct outbox *o);
/* Reader: no more requests will be admitted. */
void outbox_drain(struct outbox *o);
/* The client is gone: throw replies away. */
void outbox_kill(struct outbox *o);

#endif
