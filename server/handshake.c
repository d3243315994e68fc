/* SPDX-License-Identifier: BSD-3-Clause */
/* Negotiation: see handshake.h. */
#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <stdlib.h>
#include <time.h>

#include "core/cleanup.h"
#include "core/units.h"

#include "authz.h"
#include "handshake.h"
#include "log.h"
#include "nbd.h"
#include "options.h"
#include "tls.h"

/* Longer options are skipped and refused; the longest sensible one is a list
   of a few contexts with long names. */
#define OPTION_LEN_MAX (64 * KiB)
/* For a client to ask once more, and be told that the server ends. */
#define FAREWELL_MS 500

static int64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* Milliseconds to the deadline, 0 when it has passed; -1: there is none. */
static int time_left(const struct handshake *h)
{
	int64_t left = h->deadline_ms - now_ms();

	if (!h->deadline_ms)
		return -1;
	return left < 0 ? 0 : left > INT_MAX ? INT_MAX : (int)left;
}

static void look_for_stop(struct handshake *h)
{
	int64_t limit = now_ms() + FAREWELL_MS;

	if (h->refusing || !*h->stopping)
		return;
	h->refusing = true;
	if (!h->deadline_ms || h->deadline_ms > limit)
		h->deadline_ms = limit;
}

/* Waits for the socket; false when the time is over. */
static bool wait_for(struct handshake *h, short events)
{
	struct pollfd p[] = {
	    {.fd = h->stream->fd, .events = events},
	    {.fd = h->wake_fd, .events = POLLIN},
	};
	int n;

	do {
		look_for_stop(h);
		if (h->refusing)
			p[1].fd = -1;
		n = poll(p, ARRAY_N(p), time_left(h));
	} while ((n < 0 && errno == EINTR) || (n > 0 && !p[0].revents));
	return n > 0;
}

static bool handshake_read(struct handshake *h, void *buf, size_t len)
{
	uint8_t *p = buf;

	while (len) {
		ssize_t n = h->stream->read(h->stream, p, len, false);

		if (n > 0) {
			p += n;
			len -= (size_t)n;
		} else if (!n || errno != EAGAIN || !wait_for(h, POLLIN)) {
			return false;
		}
	}
	return true;
}

bool handshake_write(struct handshake *h, const void *buf, size_t len)
{
	struct iovec iov = {.iov_base = (void *)buf, .iov_len = len};

	while (iov.iov_len) {
		ssize_t n = h->stream->writev(h->stream, &iov, 1, false);

		if (n >= 0) {
			iov.iov_base = (uint8_t *)iov.iov_base + n;
			iov.iov_len -= (size_t)n;
		} else if (errno != EAGAIN || !wait_for(h, POLLOUT)) {
			return false;
		}
	}
	return true;
}

bool handshake_reply(struct handshake *h, uint32_t opt, uint32_t type,
    const void *data, size_t len)
{
	uint8_t head[20];

	put_be64(head, NBD_OPTION_REPLY_MAGIC);
	put_be32(head + 8, opt);
	put_be32(head + 12, type);
	put_be32(head + 16, (uint32_t)len);
	return handshake_write(h, head, sizeof head) &&
	       handshake_write(h, data, len);
}

static bool greet(struct handshake *h)
{
	const uint32_t known = NBD_FLAG_FIXED_NEWSTYLE | NBD_FLAG_NO_ZEROES;
	uint8_t hello[18], answer[4];
	uint32_t flags;

	put_be64(hello, NBD_MAGIC);
	put_be64(hello + 8, NBD_OPTION_MAGIC);
	put_be16(hello + 16, (uint16_t)known);
	if (!handshake_write(h, hello, sizeof hello) ||
	    !handshake_read(h, answer, sizeof answer))
		return false;
	flags = be32(answer);
	if (flags & ~known) {
		log_debug(
		    "client flags 0x%x: only 0x%x are known", flags, known);
		return false;
	}
	h->no_zeroes = flags & NBD_FLAG_NO_ZEROES;
	return true;
}

static bool skip(struct handshake *h, uint32_t len)
{
	uint8_t buf[4096];

	while (len) {
		uint32_t n = len < sizeof buf ? len : sizeof buf;

		if (!handshake_read(h, buf, n))
			return false;
		len -= n;
	}
	return true;
}

/* Reads one option and answers it. */
static enum option_next next_option(struct handshake *h)
{
	uint8_t head[16];
	CLEANUP_FREE uint8_t *data = NULL;
	uint32_t opt, len;

	if (!handshake_read(h, head, sizeof head))
		return OPTION_CLOSE;
	opt = be32(head + 8);
	len = be32(head + 12);
	if (be64(head) != NBD_OPTION_MAGIC || len > NBD_PAYLOAD_MAX) {
		log_debug("option %u of %u bytes with magic 0x%llx: not an "
			  "option",
		    opt, len, (unsigned long long)be64(head));
		return OPTION_CLOSE;
	}
	if (len > OPTION_LEN_MAX)
		return skip(h, len) ? option_too_big(h, opt) : OPTION_CLOSE;
	data = malloc(len + 1u);
	if (!data || !handshake_read(h, data, len))
		return OPTION_CLOSE;
	look_for_stop(h);
	return option_run(h, opt, data, len);
}

static int encrypt(struct handshake *h, struct err *e)
{
	int rc;

	if (tls_start(h->stream, h->shared->creds, e))
		return -1;
	while (rc = tls_handshake(h->stream, e), rc > 0)
		if (!wait_for(h, (short)rc))
			return err_sys(e, ETIMEDOUT, "TLS handshake");
	if (rc)
		return -1;
	h->identity = tls_identity(h->stream, e);
	if (err_is_set(e))
		return -1;
	if (h->shared->authz && !authz_allows(h->shared->authz, h->identity))
		return err_sys(
		    e, EACCES, "client '%s'", h->identity ? h->identity : "");
	return 0;
}

bool handshake_tls(struct handshake *h)
{
	struct err e = ERR_INIT;

	if (encrypt(h, &e)) {
		log_debug("%s", e.msg);
		return false;
	}
	h->tls = true;
	*h->session = (struct session){0};
	export_release(take(h->contexts_of));
	return true;
}

bool handshake_run(struct handshake *h)
{
	enum option_next next = OPTION_MORE;
	unsigned limit_ms = h->shared->handshake_ms;

	h->deadline_ms = limit_ms ? now_ms() + limit_ms : 0;
	if (!greet(h))
		return false;
	while (next == OPTION_MORE && time_left(h))
		next = next_option(h);
	free(take(h->identity));
	export_release(take(h->contexts_of));
	return next == OPTION_START;
}
