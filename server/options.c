/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The options of the negotiation: see options.h.
 *
 * An option's data comes from the client: it is taken apart with a cursor
 * that never goes past its end.
 */
#include <string.h>

#include "core/units.h"

#include "export.h"
#include "handshake.h"
#include "nbd.h"
#include "options.h"
#include "status.h"

struct cursor {
	const uint8_t *p;
	size_t left;
};

struct text {
	const char *p;
	size_t len;
};

static bool get_u16(struct cursor *c, uint16_t *out)
{
	if (c->left < 2)
		return false;
	*out = be16(c->p);
	c->p += 2;
	c->left -= 2;
	return true;
}

static bool get_u32(struct cursor *c, uint32_t *out)
{
	if (c->left < 4)
		return false;
	*out = be32(c->p);
	c->p += 4;
	c->left -= 4;
	return true;
}

/* A length and as many bytes. */
static bool get_text(struct cursor *c, struct text *t)
{
	uint32_t len;

	if (!get_u32(c, &len) || len > NBD_STRING_MAX || len > c->left)
		return false;
	t->p = (const char *)c->p;
	t->len = len;
	c->p += len;
	c->left -= len;
	return true;
}

static bool text_is(const struct text *t, const char *s)
{
	return t->len == strlen(s) && !memcmp(t->p, s, t->len);
}

/* ---- replies ----------------------------------------------------------- */

static enum option_next more(bool sent)
{
	return sent ? OPTION_MORE : OPTION_CLOSE;
}

static enum option_next ack(struct handshake *h, uint32_t opt)
{
	return more(handshake_reply(h, opt, NBD_REP_ACK, NULL, 0));
}

static enum option_next refuse(
    struct handshake *h, uint32_t opt, uint32_t error, const char *why)
{
	return more(handshake_reply(h, opt, error, why, strlen(why)));
}

static enum option_next malformed(struct handshake *h, uint32_t opt)
{
	return refuse(h, opt, NBD_REP_ERR_INVALID, "malformed option");
}

enum option_next option_too_big(struct handshake *h, uint32_t opt)
{
	if (opt == NBD_OPT_EXPORT_NAME)
		return OPTION_CLOSE;
	return refuse(h, opt, NBD_REP_ERR_TOO_BIG, "option is too long");
}

/* ---- choosing an export ------------------------------------------------ */

static void choose(struct handshake *h, const struct export *x)
{
	h->session->export = x;
	if (h->contexts_of != x)
		h->session->contexts = 0;
}

/* This option cannot be refused, other than by hanging up. */
static enum option_next opt_export_name(
    struct handshake *h, uint32_t opt, struct cursor c)
{
	const struct export *x = export_find(h->exports, c.p, c.left);
	uint8_t reply[10 + 124] = {0};

	(void)opt;
	if (!x)
		return OPTION_CLOSE;
	choose(h, x);
	put_be64(reply, x->size);
	put_be16(reply + 8, export_flags(x, h->session->structured));
	if (!handshake_write(h, reply, h->no_zeroes ? 10 : sizeof reply))
		return OPTION_CLOSE;
	return OPTION_START;
}

static bool info_export(
    struct handshake *h, uint32_t opt, const struct export *x)
{
	uint8_t b[12];

	put_be16(b, NBD_INFO_EXPORT);
	put_be64(b + 2, x->size);
	put_be16(b + 10, export_flags(x, h->session->structured));
	return handshake_reply(h, opt, NBD_REP_INFO, b, sizeof b);
}

static bool info_block_size(struct handshake *h, uint32_t opt)
{
	uint8_t b[14];

	put_be16(b, NBD_INFO_BLOCK_SIZE);
	put_be32(b + 2, 1);
	put_be32(b + 6, 4096);
	put_be32(b + 10, NBD_PAYLOAD_MAX);
	return handshake_reply(h, opt, NBD_REP_INFO, b, sizeof b);
}

static bool info_text(
    struct handshake *h, uint32_t opt, uint16_t type, const char *text)
{
	uint8_t b[2 + NBD_STRING_MAX];
	size_t len = strlen(text);

	put_be16(b, type);
	memcpy(b + 2, text, len);
	return handshake_reply(h, opt, NBD_REP_INFO, b, 2 + len);
}

static bool asked(struct cursor list, uint16_t type)
{
	uint16_t t;

	while (get_u16(&list, &t))
		if (t == type)
			return true;
	return false;
}

/* INFO and GO. */
static enum option_next opt_info(
    struct handshake *h, uint32_t opt, struct cursor c)
{
	const struct export *x;
	struct text name;
	uint16_t n;

	if (!get_text(&c, &name) || !get_u16(&c, &n) || c.left != 2u * n)
		return malformed(h, opt);
	x = export_find(h->exports, name.p, name.len);
	if (!x)
		return refuse(
		    h, opt, NBD_REP_ERR_UNKNOWN, "no export of that name");
	if (!info_export(h, opt, x) || !info_block_size(h, opt))
		return OPTION_CLOSE;
	if (asked(c, NBD_INFO_NAME) &&
	    !info_text(h, opt, NBD_INFO_NAME, x->name))
		return OPTION_CLOSE;
	if (x->description[0] &&
	    !info_text(h, opt, NBD_INFO_DESCRIPTION, x->description))
		return OPTION_CLOSE;
	if (ack(h, opt) == OPTION_CLOSE)
		return OPTION_CLOSE;
	if (opt == NBD_OPT_INFO)
		return OPTION_MORE;
	choose(h, x);
	return OPTION_START;
}

/* ---- the others -------------------------------------------------------- */

static enum option_next opt_abort(
    struct handshake *h, uint32_t opt, struct cursor c)
{
	(void)c;
	ack(h, opt);
	return OPTION_CLOSE;
}

static enum option_next opt_list(
    struct handshake *h, uint32_t opt, struct cursor c)
{
	uint8_t b[4 + 2 * NBD_STRING_MAX];

	(void)c;
	for (size_t i = 0; i < h->exports->n; i++) {
		const struct export *x = &h->exports->item[i];
		size_t name_len = strlen(x->name);
		size_t text_len = strlen(x->description);

		put_be32(b, (uint32_t)name_len);
		memcpy(b + 4, x->name, name_len);
		memcpy(b + 4 + name_len, x->description, text_len);
		if (!handshake_reply(
			h, opt, NBD_REP_SERVER, b, 4 + name_len + text_len))
			return OPTION_CLOSE;
	}
	return ack(h, opt);
}

static enum option_next opt_structured_reply(
    struct handshake *h, uint32_t opt, struct cursor c)
{
	(void)c;
	if (h->session->structured)
		return refuse(h, opt, NBD_REP_ERR_INVALID,
		    "structured replies are negotiated already");
	h->session->structured = true;
	return ack(h, opt);
}

/*
 * Does a query ask for this context?  `NAMESPACE:` is a wildcard when contexts
 * are listed, and selects nothing when they are set.
 */
static bool query_matches(const struct text *q, const char *name, bool wildcard)
{
	if (wildcard && q->len && q->p[q->len - 1] == ':')
		return q->len <= strlen(name) && !memcmp(q->p, name, q->len);
	return text_is(q, name);
}

static bool reply_context(struct handshake *h, uint32_t opt, unsigned i)
{
	uint8_t b[4 + NBD_STRING_MAX];
	const char *name = status_context(i);
	size_t len = strlen(name);

	put_be32(b, opt == NBD_OPT_SET_META_CONTEXT ? i : 0);
	memcpy(b + 4, name, len);
	return handshake_reply(h, opt, NBD_REP_META_CONTEXT, b, 4 + len);
}

/* The contexts that n queries match, as bits; false when malformed. */
static bool match(
    struct cursor c, uint32_t n, bool wildcard, unsigned *contexts)
{
	struct text q;

	*contexts = 0;
	for (; n; n--) {
		if (!get_text(&c, &q))
			return false;
		for (unsigned i = 0; status_context(i); i++)
			if (query_matches(&q, status_context(i), wildcard))
				*contexts |= 1u << i;
	}
	return !c.left;
}

/* LIST_META_CONTEXT and SET_META_CONTEXT. */
static enum option_next opt_meta_context(
    struct handshake *h, uint32_t opt, struct cursor c)
{
	bool list = opt == NBD_OPT_LIST_META_CONTEXT;
	const struct export *x;
	struct text name;
	unsigned found;
	uint32_t n;

	if (!list)
		h->session->contexts = 0;
	if (!h->session->structured)
		return refuse(h, opt, NBD_REP_ERR_INVALID,
		    "structured replies must be negotiated first");
	if (!get_text(&c, &name) || !get_u32(&c, &n) ||
	    !match(c, n, list, &found))
		return malformed(h, opt);
	x = export_find(h->exports, name.p, name.len);
	if (!x)
		return refuse(
		    h, opt, NBD_REP_ERR_UNKNOWN, "no export of that name");
	if (list && !n)
		found = ~0u;
	for (unsigned i = 0; status_context(i); i++)
		if (found & 1u << i && !reply_context(h, opt, i))
			return OPTION_CLOSE;
	if (!list) {
		h->session->contexts = found;
		h->contexts_of = x;
	}
	return ack(h, opt);
}

/* ---- the table --------------------------------------------------------- */

struct option {
	enum option_next (*run)(
	    struct handshake *h, uint32_t opt, struct cursor c);
	bool no_data; /* has none */
};

static const struct option options[] = {
    [NBD_OPT_EXPORT_NAME] = {opt_export_name, false},
    [NBD_OPT_ABORT] = {opt_abort, false},
    [NBD_OPT_LIST] = {opt_list, true},
    [NBD_OPT_INFO] = {opt_info, false},
    [NBD_OPT_GO] = {opt_info, false},
    [NBD_OPT_STRUCTURED_REPLY] = {opt_structured_reply, true},
    [NBD_OPT_LIST_META_CONTEXT] = {opt_meta_context, false},
    [NBD_OPT_SET_META_CONTEXT] = {opt_meta_context, false},
};

enum option_next option_run(
    struct handshake *h, uint32_t opt, const uint8_t *data, size_t len)
{
	const struct option *o = opt < ARRAY_N(options) ? &options[opt] : NULL;

	if (!o || !o->run)
		return refuse(h, opt, NBD_REP_ERR_UNSUP, "unknown option");
	if (o->no_data && len)
		return malformed(h, opt);
	return o->run(h, opt, (struct cursor){data, len});
}
