/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Negotiation: fixed newstyle.  The greeting, then options until the client
 * chooses an export or leaves.
 *
 * Everything here has the client's deadline, counted from its connection, so
 * that one who says nothing, or very little at a time, is dropped.
 */
#ifndef IMGD_HANDSHAKE_H
#define IMGD_HANDSHAKE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "conn.h"
#include "export.h"
#include "session.h"
#include "stream.h"

struct handshake {
	struct stream *stream;
	const struct conn_shared *shared;
	int wake_fd; /* readable: look at `stopping`               */
	const _Atomic bool *stopping; /* the server ends                   */
	bool refusing;	     /* and that was noticed                       */
	int64_t deadline_ms; /* CLOCK_MONOTONIC; 0 none                    */
	bool no_zeroes;
	bool tls;	/* the stream is encrypted                    */
	char *identity; /* of the client; NULL when it is not known   */
	/* whose contexts are selected; NULL: none are.  To be released. */
	const struct export *contexts_of;
	struct session *session;
};

/*
 * True when the client is ready for requests; *session is filled in, and its
 * export is to be released.
 */
bool handshake_run(struct handshake *h);

/* ---- for options.c ---- */

/* False: the client is gone, or too slow. */
bool handshake_write(struct handshake *h, const void *buf, size_t len);
/* TLS from now on; what was agreed before counts no more.  False: the client is
   gone, or may not come in. */
bool handshake_tls(struct handshake *h);
/* One reply to option `opt`. */
bool handshake_reply(struct handshake *h, uint32_t opt, uint32_t type,
    const void *data, size_t len);

#endif
