/* SPDX-License-Identifier: BSD-3-Clause */
/* Asking a server what it exports: see query.h. */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/cleanup.h"

#include "cursor.h"
#include "query.h"
#include "stream.h"
#include "tls.h"

#define EXPORTS_MAX   65536u
#define CONTEXTS_MAX  1024u
#define REPLY_LEN_MAX (4u + 2 * NBD_STRING_MAX)

struct asker {
	struct query *q;
	struct stream stream;
};

/* One reply to an option. */
struct reply {
	uint32_t type;
	uint32_t len;
	uint8_t data[REPLY_LEN_MAX];
};

/* ---- bytes ------------------------------------------------------------- */

static int receive(struct asker *a, void *buf, size_t len, struct err *e)
{
	uint8_t *p = buf;

	while (len) {
		ssize_t n = a->stream.read(&a->stream, p, len, true);

		if (n <= 0)
			return err_sys(e, n ? errno : ECONNRESET,
			    "Failed to read from the server");
		p += n;
		len -= (size_t)n;
	}
	return 0;
}

static int transmit(struct asker *a, const void *buf, size_t len, struct err *e)
{
	struct pollfd p = {.fd = a->stream.fd, .events = POLLOUT};
	struct iovec iov = {.iov_base = (void *)buf, .iov_len = len};

	while (iov.iov_len) {
		ssize_t n = a->stream.writev(&a->stream, &iov, 1, false);

		if (n < 0 && errno == EAGAIN) {
			poll(&p, 1, -1);
			continue;
		}
		if (n < 0)
			return err_sys(
			    e, errno, "Failed to write to the server");
		iov.iov_base = (uint8_t *)iov.iov_base + n;
		iov.iov_len -= (size_t)n;
	}
	return 0;
}

/* ---- options ----------------------------------------------------------- */

static const char *option_name(uint32_t opt)
{
	switch ((enum nbd_option)opt) {
	case NBD_OPT_EXPORT_NAME:
		return "export name";
	case NBD_OPT_ABORT:
		return "abort";
	case NBD_OPT_LIST:
		return "list";
	case NBD_OPT_STARTTLS:
		return "starttls";
	case NBD_OPT_INFO:
		return "info";
	case NBD_OPT_GO:
		return "go";
	case NBD_OPT_STRUCTURED_REPLY:
		return "structured reply";
	case NBD_OPT_LIST_META_CONTEXT:
		return "list meta context";
	case NBD_OPT_SET_META_CONTEXT:
		return "set meta context";
	case NBD_OPT_EXTENDED_HEADERS:
		return "extended headers";
	}
	return "unknown";
}

static int ask(struct asker *a, uint32_t opt, const void *data, uint32_t len,
    struct err *e)
{
	uint8_t head[16];

	put_be64(head, NBD_OPTION_MAGIC);
	put_be32(head + 8, opt);
	put_be32(head + 12, len);
	return transmit(a, head, sizeof head, e) || transmit(a, data, len, e)
		   ? -1
		   : 0;
}

static int get_reply(
    struct asker *a, uint32_t opt, struct reply *r, struct err *e)
{
	uint8_t head[20];

	if (receive(a, head, sizeof head, e))
		return -1;
	r->type = be32(head + 12);
	r->len = be32(head + 16);
	if (be64(head) != NBD_OPTION_REPLY_MAGIC || be32(head + 8) != opt)
		return err_usage(e,
		    "reply to option %u (%s): it is to option %u, with magic "
		    "0x%llx",
		    opt, option_name(opt), be32(head + 8),
		    (unsigned long long)be64(head));
	if (r->len > sizeof r->data)
		return err_usage(e,
		    "reply to option %u (%s): %u bytes, at most %zu are "
		    "sensible",
		    opt, option_name(opt), r->len, sizeof r->data);
	return receive(a, r->data, r->len, e);
}

static bool is_error(const struct reply *r)
{
	return r->type & 0x80000000u;
}

/* What the server said may have anything in it. */
static void hint_said(const struct reply *r, const char *before, struct err *e)
{
	char text[256];
	size_t len = min_u64(r->len, sizeof text - 1);

	for (size_t i = 0; i < len; i++)
		text[i] = r->data[i] < ' ' || r->data[i] == 127
			      ? '?'
			      : (char)r->data[i];
	text[len] = 0;
	if (len)
		err_hint(e, "%sserver reported: %s", before, text);
	else if (*before)
		err_hint(e, "%.*s", (int)strlen(before) - 1, before);
}

static int refused(uint32_t opt, const struct reply *r, struct err *e)
{
	const char *before = "", *format;

	switch (r->type) {
	case NBD_REP_ERR_UNSUP:
		format = "Unsupported option type %u (%s)";
		break;
	case NBD_REP_ERR_POLICY:
		format = "Denied by server for option %u (%s)";
		break;
	case NBD_REP_ERR_INVALID:
		format = "Invalid parameters for option %u (%s)";
		break;
	case NBD_REP_ERR_TLS_REQD:
		format = "TLS negotiation required before option %u (%s)";
		before = "Did you forget a valid tls-creds?\n";
		break;
	case NBD_REP_ERR_SHUTDOWN:
		format = "Server shutting down before option %u (%s)";
		break;
	default:
		format = "Unknown error code when asking for option %u (%s)";
		break;
	}
	err_usage(e, format, opt, option_name(opt));
	hint_said(r, before, e);
	return -1;
}

/* An option without data and with one reply.  1 agreed, 0 refused, -1. */
static int agree(struct asker *a, uint32_t opt, struct reply *r, struct err *e)
{
	if (ask(a, opt, NULL, 0, e) || get_reply(a, opt, r, e))
		return -1;
	if (r->type == NBD_REP_ACK)
		return 1;
	return is_error(r) ? 0
			   : err_usage(e, "reply %u to option %u (%s)", r->type,
				 opt, option_name(opt));
}

/* ---- what is asked ----------------------------------------------------- */

/* Text of `len` bytes, malloc'd. */
static char *to_string(const void *p, size_t len, struct err *e)
{
	char *s = strndup(p, len);

	if (!s)
		err_nomem(e);
	return s;
}

static int add_export(struct query *q, const struct reply *r, struct err *e)
{
	struct cursor c = {r->data, r->len};
	struct query_export *x;
	struct text name;

	if (!get_text(&c, &name))
		return err_usage(
		    e, "the server lists an export without a name");
	if (q->n == EXPORTS_MAX)
		return err_usage(e, "more than %u exports", EXPORTS_MAX);
	x = reallocarray(q->export, q->n + 1, sizeof *x);
	if (!x)
		return err_nomem(e);
	q->export = x;
	x = &q->export[q->n++];
	*x = (struct query_export){0};
	x->name = to_string(name.p, name.len, e);
	if (c.left)
		x->description = to_string(c.p, c.left, e);
	return err_is_set(e) ? -1 : 0;
}

static int ask_list(struct asker *a, struct reply *r, struct err *e)
{
	if (ask(a, NBD_OPT_LIST, NULL, 0, e))
		return -1;
	while (!get_reply(a, NBD_OPT_LIST, r, e)) {
		if (r->type == NBD_REP_ACK)
			return 0;
		if (is_error(r))
			return refused(NBD_OPT_LIST, r, e);
		if (r->type == NBD_REP_SERVER && add_export(a->q, r, e))
			return -1;
	}
	return -1;
}

static int note_info(
    struct query_export *x, const struct reply *r, struct err *e)
{
	struct cursor c = {r->data, r->len};
	uint16_t type = 0;

	get_u16(&c, &type);
	if (type == NBD_INFO_EXPORT)
		x->has_info = get_u64(&c, &x->size) && get_u16(&c, &x->flags);
	if (type == NBD_INFO_BLOCK_SIZE)
		x->has_sizes = get_u32(&c, &x->min_block) &&
			       get_u32(&c, &x->opt_block) &&
			       get_u32(&c, &x->max_block);
	if (type == NBD_INFO_DESCRIPTION && !x->description) {
		x->description = to_string(c.p, c.left, e);
		return x->description ? 0 : -1;
	}
	return 0;
}

static int note_context(
    struct query_export *x, const struct reply *r, struct err *e)
{
	char **grown;

	if (r->len < 4 || x->context_n == CONTEXTS_MAX)
		return err_usage(e,
		    "export '%s': a context without a name, or "
		    "more than %u",
		    x->name, CONTEXTS_MAX);
	grown = reallocarray(x->context, x->context_n + 1, sizeof *grown);
	if (!grown)
		return err_nomem(e);
	x->context = grown;
	grown[x->context_n] = to_string(r->data + 4, r->len - 4, e);
	if (!grown[x->context_n])
		return -1;
	x->context_n++;
	return 0;
}

/*
 * An option about one export.  One that the server does not know, or refuses
 * for this export, leaves out what it would have said.
 */
static int ask_about(struct asker *a, struct query_export *x, uint32_t opt,
    struct reply *r, struct err *e)
{
	bool info = opt == NBD_OPT_INFO;
	uint8_t data[4 + NBD_STRING_MAX + 8];
	uint32_t len = (uint32_t)strlen(x->name);
	uint8_t *p = data + 4 + len;

	put_be32(data, len);
	memcpy(data + 4, x->name, len);
	if (info) {
		put_be16(p, 2);
		put_be16(p + 2, NBD_INFO_DESCRIPTION);
		put_be16(p + 4, NBD_INFO_BLOCK_SIZE);
	} else {
		put_be32(p, 0);
	}
	if (ask(a, opt, data, 4 + len + (info ? 6 : 4), e))
		return -1;
	while (!get_reply(a, opt, r, e)) {
		if (r->type == NBD_REP_ACK || is_error(r))
			return 0;
		if (r->type == NBD_REP_INFO && note_info(x, r, e))
			return -1;
		if (r->type == NBD_REP_META_CONTEXT && note_context(x, r, e))
			return -1;
	}
	return -1;
}

/* ---- all of it --------------------------------------------------------- */

static int greet(struct asker *a, struct err *e)
{
	const uint16_t known = NBD_FLAG_FIXED_NEWSTYLE | NBD_FLAG_NO_ZEROES;
	uint8_t hello[18], flags[4];

	if (receive(a, hello, 16, e))
		return -1;
	if (be64(hello) != NBD_MAGIC)
		return err_usage(e, "Bad initial magic received: 0x%llx",
		    (unsigned long long)be64(hello));
	if (be64(hello + 8) != NBD_OPTION_MAGIC)
		return err_usage(e, "The server is of the old style, which has "
				    "no list");
	if (receive(a, hello + 16, 2, e))
		return -1;
	if (!(be16(hello + 16) & NBD_FLAG_FIXED_NEWSTYLE))
		return err_usage(e, "Server does not support NBD_OPT_LIST");
	put_be32(flags, be16(hello + 16) & known);
	return transmit(a, flags, sizeof flags, e);
}

static int encrypt(struct asker *a, const struct tls_creds *creds,
    struct reply *r, struct err *e)
{
	struct pollfd p = {.fd = a->stream.fd};
	int rc = agree(a, NBD_OPT_STARTTLS, r, e);

	if (rc <= 0)
		return rc ? -1 : refused(NBD_OPT_STARTTLS, r, e);
	if (tls_start(&a->stream, creds, e))
		return -1;
	while (rc = tls_handshake(&a->stream, e), rc > 0) {
		p.events = (short)rc;
		poll(&p, 1, -1);
	}
	a->q->tls = !rc;
	return rc;
}

/* The server has closed what it opened for us when it lets us go, or hangs up:
   to do so without a word is allowed. */
static int leave(struct asker *a, struct reply *r, struct err *e)
{
	struct err ignored = ERR_INIT;

	if (ask(a, NBD_OPT_ABORT, NULL, 0, e))
		return -1;
	get_reply(a, NBD_OPT_ABORT, r, &ignored);
	return 0;
}

static int negotiate(struct asker *a, const struct tls_creds *creds,
    struct reply *r, struct err *e)
{
	int rc;

	if (greet(a, e) || (creds && encrypt(a, creds, r, e)))
		return -1;
	rc = agree(a, NBD_OPT_EXTENDED_HEADERS, r, e);
	a->q->extended = rc > 0;
	if (!rc)
		rc = agree(a, NBD_OPT_STRUCTURED_REPLY, r, e);
	a->q->structured = rc > 0;
	if (rc < 0 || ask_list(a, r, e))
		return -1;
	for (size_t i = 0; i < a->q->n; i++) {
		struct query_export *x = &a->q->export[i];

		if (ask_about(a, x, NBD_OPT_INFO, r, e))
			return -1;
		if (a->q->structured &&
		    ask_about(a, x, NBD_OPT_LIST_META_CONTEXT, r, e))
			return -1;
	}
	return leave(a, r, e);
}

int query_run(
    struct query *q, int fd, const struct tls_creds *creds, struct err *e)
{
	CLEANUP_FREE struct reply *r = malloc(sizeof *r);
	struct asker a = {.q = q};
	int rc = r ? 0 : err_nomem(e);

	*q = (struct query){0};
	if (!rc) {
		stream_socket(&a.stream, fd);
		rc = negotiate(&a, creds, r, e);
		stream_close(&a.stream);
	}
	close(fd);
	return rc;
}

void query_clear(struct query *q)
{
	for (size_t i = 0; i < q->n; i++) {
		struct query_export *x = &q->export[i];

		for (size_t k = 0; k < x->context_n; k++)
			free(x->context[k]);
		free(x->context);
		free(x->name);
		free(x->description);
	}
	free(q->export);
	*q = (struct query){0};
}
