/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * TLS under a byte stream: see tls.h.
 *
 * A session is used by one thread at a time (`lock`); nobody waits for the
 * socket while holding it.
 *
 * gnutls wants a record that could not be sent whole to be finished before the
 * next one, and keeps its bytes.  The stream tells its caller that nothing was
 * written, who comes again with the same bytes (`pending`).
 */
#include <errno.h>
#include <gnutls/gnutls.h>
#include <gnutls/x509.h>
#include <poll.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "core/cleanup.h"
#include "core/lock.h"
#include "core/units.h"

#include "stream.h"
#include "tls.h"
#include "tlscreds.h"

#define RECORD_LEN 16384u /* bytes of the largest record */

struct tls {
	struct mutex lock; /* guards all that follows */
	gnutls_session_t session;
	bool up;	/* the handshake is done */
	size_t pending; /* bytes of a record that is not sent whole */
	uint8_t record[RECORD_LEN];
};

static struct tls *tls_of(struct stream *s)
{
	return s->state;
}

/* ---- the socket below -------------------------------------------------- */

static ssize_t pull(gnutls_transport_ptr_t p, void *buf, size_t len)
{
	const struct stream *s = p;

	return recv(s->fd, buf, len, MSG_DONTWAIT);
}

static ssize_t push(gnutls_transport_ptr_t p, const giovec_t *iov, int iov_n)
{
	const struct stream *s = p;
	struct msghdr m = {
	    .msg_iov = (struct iovec *)iov,
	    .msg_iovlen = (size_t)iov_n,
	};

	return sendmsg(s->fd, &m, MSG_DONTWAIT | MSG_NOSIGNAL);
}

/* ---- the stream above -------------------------------------------------- */

static bool is_again(ssize_t rc)
{
	return rc == GNUTLS_E_AGAIN || rc == GNUTLS_E_INTERRUPTED;
}

/* A client that just hangs up has ended its stream. */
static ssize_t read_now(struct stream *s, void *buf, size_t len)
{
	struct tls *t = tls_of(s);
	ssize_t n;

	mutex_lock(&t->lock);
	do
		n = gnutls_record_recv(t->session, buf, len);
	while (n == GNUTLS_E_INTERRUPTED);
	mutex_unlock(&t->lock);
	if (n >= 0)
		return n;
	if (n == GNUTLS_E_PREMATURE_TERMINATION)
		return 0;
	errno = n == GNUTLS_E_AGAIN ? EAGAIN : EPROTO;
	return -1;
}

static ssize_t tls_read(struct stream *s, void *buf, size_t len, bool wait)
{
	struct pollfd p = {.fd = s->fd, .events = POLLIN};
	ssize_t n;

	while (n = read_now(s, buf, len), n < 0 && errno == EAGAIN && wait)
		if (poll(&p, 1, -1) < 0 && errno != EINTR)
			return -1;
	return n;
}

/* Up to a record of what is `done` bytes into the vector: where it is, or a
   copy where it is in pieces.  Returns its length. */
static size_t gather(struct tls *t, const struct iovec *iov, int iov_n,
    size_t done, const void **out) REQUIRES(t->lock)
{
	size_t len = 0;

	*out = t->record;
	for (; iov_n && len < RECORD_LEN; iov++, iov_n--) {
		const uint8_t *p = iov->iov_base;
		size_t n;

		if (done >= iov->iov_len) {
			done -= iov->iov_len;
			continue;
		}
		n = iov->iov_len - done;
		if (!len && n >= RECORD_LEN) {
			*out = p + done;
			return RECORD_LEN;
		}
		n = min_u64(n, RECORD_LEN - len);
		memcpy(t->record + len, p + done, n);
		len += n;
		done = 0;
	}
	return len;
}

/* One record; bytes of the vector that are sent, or what gnutls said. */
static ssize_t send_record(struct tls *t, const struct iovec *iov, int iov_n,
    size_t done) REQUIRES(t->lock)
{
	const void *p = NULL;
	size_t len = 0;
	ssize_t n;

	if (!t->pending)
		len = gather(t, iov, iov_n, done, &p);
	if (!t->pending && !len)
		return 0;
	n = gnutls_record_send(t->session, p, len);
	if (is_again(n))
		t->pending = t->pending ? t->pending : len;
	else
		t->pending = 0;
	return n;
}

static ssize_t tls_writev(
    struct stream *s, const struct iovec *iov, int iov_n, bool more)
{
	struct tls *t = tls_of(s);
	size_t done = 0;
	ssize_t n;

	(void)more;
	mutex_lock(&t->lock);
	while ((n = send_record(t, iov, iov_n, done)) > 0)
		done += (size_t)n;
	mutex_unlock(&t->lock);
	if (done || !n)
		return (ssize_t)done;
	errno = is_again(n) ? EAGAIN : EPIPE;
	return -1;
}

/* The peer is told that this was all, if that can be done at once. */
static void tls_close(struct stream *s)
{
	struct tls *t = tls_of(s);

	mutex_lock(&t->lock);
	if (t->up)
		gnutls_bye(t->session, GNUTLS_SHUT_WR);
	gnutls_deinit(t->session);
	mutex_unlock(&t->lock);
	mutex_destroy(&t->lock);
	free(t);
	s->state = NULL;
}

/* ---- the beginning ----------------------------------------------------- */

static int tls_failed(struct err *e, int rc, const char *what)
{
	if (rc == GNUTLS_E_MEMORY_ERROR)
		return err_nomem(e);
	return err_set(
	    e, ERR_SYSTEM, EPROTO, "%s: %s", what, gnutls_strerror(rc));
}

int tls_start(struct stream *s, const struct tls_creds *creds, struct err *e)
{
	const unsigned flags =
	    tls_creds_end(creds) | GNUTLS_NONBLOCK | GNUTLS_NO_SIGNAL;
	struct tls *t = calloc(1, sizeof *t);
	int rc;

	if (!t)
		return err_nomem(e);
	rc = gnutls_init(&t->session, flags);
	if (rc) {
		free(t);
		return tls_failed(e, rc, "TLS session");
	}
	mutex_init(&t->lock);
	s->state = t;
	s->read = tls_read;
	s->writev = tls_writev;
	s->send_file = NULL;
	s->close = tls_close;
	gnutls_transport_set_ptr(t->session, s);
	gnutls_transport_set_pull_function(t->session, pull);
	gnutls_transport_set_vec_push_function(t->session, push);
	return tls_creds_use(creds, t->session, e);
}

int tls_handshake(struct stream *s, struct err *e)
{
	struct tls *t = tls_of(s);
	bool write;
	int rc;

	mutex_lock(&t->lock);
	do
		rc = gnutls_handshake(t->session);
	while (rc < 0 && rc != GNUTLS_E_AGAIN && !gnutls_error_is_fatal(rc));
	t->up = !rc;
	if (rc && rc != GNUTLS_E_AGAIN)
		gnutls_alert_send_appropriate(t->session, rc);
	write = gnutls_record_get_direction(t->session);
	mutex_unlock(&t->lock);
	if (!rc)
		return 0;
	if (rc == GNUTLS_E_AGAIN)
		return write ? POLLOUT : POLLIN;
	return tls_failed(e, rc, "TLS handshake");
}

static char *certificate_name(gnutls_session_t session, struct err *e)
{
	unsigned n;
	const gnutls_datum_t *list = gnutls_certificate_get_peers(session, &n);
	gnutls_datum_t name = {0};
	gnutls_x509_crt_t cert;
	int rc;

	if (!list || !n)
		return NULL;
	rc = gnutls_x509_crt_init(&cert);
	if (rc) {
		tls_failed(e, rc, "client's certificate");
		return NULL;
	}
	rc = gnutls_x509_crt_import(cert, &list[0], GNUTLS_X509_FMT_DER);
	if (!rc)
		rc = gnutls_x509_crt_get_dn2(cert, &name);
	gnutls_x509_crt_deinit(cert);
	if (rc)
		tls_failed(e, rc, "client's certificate");
	return (char *)name.data;
}

char *tls_identity(struct stream *s, struct err *e)
{
	struct tls *t = tls_of(s);
	const char *user;
	char *name = NULL;

	mutex_lock(&t->lock);
	if (gnutls_auth_client_get_type(t->session) == GNUTLS_CRD_PSK) {
		user = gnutls_psk_server_get_username(t->session);
		name = user ? strdup(user) : NULL;
		if (user && !name)
			err_nomem(e);
	} else {
		name = certificate_name(t->session, e);
	}
	mutex_unlock(&t->lock);
	return name;
}
