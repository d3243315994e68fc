/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * TLS under a byte stream.
 *
 * A stream begins as a plain socket; tls_start() puts TLS under it, and then
 * tls_handshake() is called until it is done.  Whatever came in plain text
 * after that point is taken for TLS, and so ends the connection.
 *
 * Keys and secrets appear in no message.
 */
#ifndef IMGD_TLS_H
#define IMGD_TLS_H

#include "core/err.h"

struct stream;
struct tls_creds;

/* The credentials of the server, from the object of this ID. */
struct tls_creds *tls_creds_new(const char *id, struct err *e);
/* Those of a client, for a server of this name; NULL: not known. */
struct tls_creds *tls_client_creds_new(
    const char *id, const char *hostname, struct err *e);
void tls_creds_free(struct tls_creds *c); /* NULL is allowed */

/* `creds` must live as long as the stream.  On failure the stream is lost. */
int tls_start(struct stream *s, const struct tls_creds *creds, struct err *e);
/* 0 done; POLLIN or POLLOUT: call again when the socket is ready; -1 */
int tls_handshake(struct stream *s, struct err *e);
/*
 * Who the client is, malloc'd: the distinguished name of its certificate or
 * the user name of its key.  NULL with no error: it did not say.
 */
char *tls_identity(struct stream *s, struct err *e);

#endif
