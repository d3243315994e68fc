/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * One client: its negotiation, and then its requests until it leaves.
 *
 * Threads: conn_run() is the client's reader.  It owns everything in the
 * connection but what outbox.h guards; workers see the session, which is
 * constant by then, the request they run, and the outbox.
 */
#ifndef IMGD_CONN_H
#define IMGD_CONN_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "core/err.h"

struct authz;
struct conn;
struct exports;
struct job;
struct outbox;
struct task;
struct task_list;
struct sched;
struct session;
struct stream;
struct tls_creds;

/* What all connections share; outlives them. */
struct conn_shared {
	const struct exports *exports;
	struct sched *sched;
	unsigned handshake_ms; /* for the whole negotiation; 0: no limit */
	unsigned requests_max; /* in flight for one client; 0: the usual */
	uint64_t client_rate;  /* bytes a second for one; 0: no limit */
	const struct tls_creds *creds; /* NULL: no TLS                       */
	bool tls_optional;	       /* plain clients are served too       */
	struct authz *authz;	       /* who may use TLS; NULL: everybody   */
};

/* `s` stays the caller's, and lives longer. */
struct conn *conn_new(
    struct stream *s, const struct conn_shared *shared, struct err *e);
/* Serves the client until it is gone, and nothing of it is in flight. */
void conn_run(struct conn *c);
/* Gives up its export; after conn_run(). */
void conn_release(struct conn *c);
/* Did it finish negotiation? */
bool conn_negotiated(const struct conn *c);
/*
 * Any thread, while conn_run() runs: finish what is in flight, refuse the
 * rest.
 */
void conn_stop(struct conn *c);
void conn_free(struct conn *c); /* NULL is allowed */

const struct session *conn_session(const struct conn *c);

/* For exec.c. */
struct outbox *conn_outbox(struct conn *c);
struct batch *conn_batch(struct conn *c);
/* The batch becomes the caller's, and the connection gets a new one; NULL when
 * out of memory. */
struct batch *conn_take_batch(struct conn *c);
/* The client's own reader: does it wait for each reply before it asks more? */
bool conn_one_by_one(const struct conn *c);
bool conn_sends_files(const struct conn *c);
void conn_submit(struct conn *c, struct job *j);

#endif
