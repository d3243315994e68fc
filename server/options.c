/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The options of the negotiation: see options.h.  Those of the metadata
 * contexts are in metactx.c.
 */
#include <string.h>

#include "export.h"
#include "folder.h"
#include "handshake.h"
#include "nbd.h"
#include "options.h"

/* ---- replies ----------------------------------------------------------- */

static enum option_next more(bool sent)
{
	return sent ? OPTION_MORE : OPTION_CLOSE;
}

enum option_next option_ack(struct handshake *h, uint32_t opt)
{
	return more(handshake_reply(h, opt, NBD_REP_ACK, NULL, 0));
}

enum option_next option_refuse(
    struct handshake *h, uint32_t opt, uint32_t error, const char *why)
{
	return more(handshake_reply(h, opt, error, why, strlen(why)));
}

enum option_next option_malformed(struct handshake *h, uint32_t opt)
{
	return option_refuse(h, opt, NBD_REP_ERR_INVALID, "malformed option");
}

enum option_next option_unknown_export(struct handshake *h, uint32_t opt)
{
	return option_refuse(
	    h, opt, NBD_REP_ERR_UNKNOWN, "no export of that name");
}

enum option_next option_too_big(struct handshake *h, uint32_t opt)
{
	if (opt == NBD_OPT_EXPORT_NAME)
		return OPTION_CLOSE;
	return option_refuse(h, opt, NBD_REP_ERR_TOO_BIG, "option is too long");
}

const struct export *option_export(
    const struct handshake *h, const void *name, size_t len)
{
	return export_find(h->shared->exports, h->identity, name, len);
}

/* ---- choosing an export ------------------------------------------------ */

/* What is agreed with a client that chooses this export, which the session
   holds then. */
static struct session session_with(
    const struct handshake *h, const struct export *x)
{
	struct session s = *h->session;

	s.export = x;
	if (h->contexts_of != x)
		s.contexts = 0;
	return s;
}

/* This option cannot be refused, other than by hanging up.  One who asked for
   extended headers has to use GO. */
static enum option_next opt_export_name(
    struct handshake *h, uint32_t opt, struct cursor c)
{
	CLEANUP(export)
	const struct export *x = option_export(h, c.p, c.left);
	uint8_t reply[10 + 124] = {0};

	(void)opt;
	if (!x || h->session->extended)
		return OPTION_CLOSE;
	put_be64(reply, x->size);
	*h->session = session_with(h, take(x));
	put_be16(reply + 8, export_flags(h->session->export, h->session));
	if (!handshake_write(h, reply, h->no_zeroes ? 10 : sizeof reply))
		return OPTION_CLOSE;
	return OPTION_START;
}

static bool info_export(
    struct handshake *h, uint32_t opt, const struct export *x)
{
	struct session s = session_with(h, x);
	uint8_t b[12];

	/* one who only asks has not selected the contexts yet */
	if (opt == NBD_OPT_INFO)
		s.contexts = UINT64_MAX;
	put_be16(b, NBD_INFO_EXPORT);
	put_be64(b + 2, x->size);
	put_be16(b + 10, export_flags(x, &s));
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
	CLEANUP(export) const struct export *x = NULL;
	struct text name;
	uint16_t n;

	if (!get_text(&c, &name) || !get_u16(&c, &n) || c.left != 2u * n)
		return option_malformed(h, opt);
	x = option_export(h, name.p, name.len);
	if (!x)
		return option_unknown_export(h, opt);
	if (!info_export(h, opt, x) || !info_block_size(h, opt))
		return OPTION_CLOSE;
	if (asked(c, NBD_INFO_NAME) &&
	    !info_text(h, opt, NBD_INFO_NAME, x->name))
		return OPTION_CLOSE;
	if (x->description[0] &&
	    !info_text(h, opt, NBD_INFO_DESCRIPTION, x->description))
		return OPTION_CLOSE;
	if (option_ack(h, opt) == OPTION_CLOSE)
		return OPTION_CLOSE;
	if (opt == NBD_OPT_INFO)
		return OPTION_MORE;
	*h->session = session_with(h, take(x));
	return OPTION_START;
}

/* ---- the others -------------------------------------------------------- */

static enum option_next opt_abort(
    struct handshake *h, uint32_t opt, struct cursor c)
{
	(void)c;
	option_ack(h, opt);
	return OPTION_CLOSE;
}

static bool list_one(
    struct handshake *h, uint32_t opt, const char *name, const char *text)
{
	uint8_t b[4 + 2 * NBD_STRING_MAX];
	size_t name_len = strlen(name), text_len = strlen(text);

	put_be32(b, (uint32_t)name_len);
	memcpy(b + 4, name, name_len);
	memcpy(b + 4 + name_len, text, text_len);
	return handshake_reply(
	    h, opt, NBD_REP_SERVER, b, 4 + name_len + text_len);
}

static bool list_fixed(struct handshake *h, uint32_t opt)
{
	const struct exports *all = h->shared->exports;

	for (size_t i = 0; i < all->n; i++) {
		const struct export *x = &all->item[i];

		if (export_visible(x, h->identity) &&
		    !list_one(h, opt, x->name, x->description))
			return false;
	}
	return true;
}

/* Files are not opened to be listed. */
static bool list_folder(struct handshake *h, uint32_t opt)
{
	const struct exports *all = h->shared->exports;
	char **names = all->folder ? folder_names(all->folder) : NULL;
	bool ok = true;

	for (size_t i = 0; ok && names && names[i]; i++)
		if (!exports_fixed(all, names[i], strlen(names[i])))
			ok = list_one(h, opt, names[i], "");
	folder_names_free(names);
	return ok;
}

static enum option_next opt_list(
    struct handshake *h, uint32_t opt, struct cursor c)
{
	(void)c;
	if (!list_fixed(h, opt) || !list_folder(h, opt))
		return OPTION_CLOSE;
	return option_ack(h, opt);
}

static enum option_next opt_structured_reply(
    struct handshake *h, uint32_t opt, struct cursor c)
{
	(void)c;
	if (h->session->extended)
		return option_refuse(h, opt, NBD_REP_ERR_EXT_HEADER_REQD,
		    "extended headers are negotiated already");
	if (h->session->structured)
		return option_refuse(h, opt, NBD_REP_ERR_INVALID,
		    "structured replies are negotiated already");
	h->session->structured = true;
	return option_ack(h, opt);
}

static enum option_next opt_extended_headers(
    struct handshake *h, uint32_t opt, struct cursor c)
{
	(void)c;
	if (h->session->extended)
		return option_refuse(h, opt, NBD_REP_ERR_INVALID,
		    "extended headers are negotiated already");
	h->session->extended = true;
	h->session->structured = true;
	return option_ack(h, opt);
}

static enum option_next opt_starttls(
    struct handshake *h, uint32_t opt, struct cursor c)
{
	(void)c;
	if (!h->shared->creds)
		return option_refuse(
		    h, opt, NBD_REP_ERR_POLICY, "TLS is not configured");
	if (h->tls)
		return option_refuse(h, opt, NBD_REP_ERR_INVALID,
		    "the connection is encrypted already");
	if (option_ack(h, opt) == OPTION_CLOSE || !handshake_tls(h))
		return OPTION_CLOSE;
	return OPTION_MORE;
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
    [NBD_OPT_STARTTLS] = {opt_starttls, true},
    [NBD_OPT_INFO] = {opt_info, false},
    [NBD_OPT_GO] = {opt_info, false},
    [NBD_OPT_STRUCTURED_REPLY] = {opt_structured_reply, true},
    [NBD_OPT_EXTENDED_HEADERS] = {opt_extended_headers, true},
    [NBD_OPT_LIST_META_CONTEXT] = {option_meta_context, false},
    [NBD_OPT_SET_META_CONTEXT] = {option_meta_context, false},
};

/* Before TLS, where it is required: nothing is said of any export, nor of which
   options there are. */
static enum option_next tls_first(struct handshake *h, uint32_t opt)
{
	if (opt == NBD_OPT_EXPORT_NAME)
		return OPTION_CLOSE;
	return option_refuse(
	    h, opt, NBD_REP_ERR_TLS_REQD, "TLS is required: use STARTTLS");
}

static enum option_next shutting_down(struct handshake *h, uint32_t opt)
{
	if (opt == NBD_OPT_EXPORT_NAME)
		return OPTION_CLOSE;
	return option_refuse(
	    h, opt, NBD_REP_ERR_SHUTDOWN, "server is shutting down");
}

enum option_next option_run(
    struct handshake *h, uint32_t opt, const uint8_t *data, size_t len)
{
	const struct option *o = opt < ARRAY_N(options) ? &options[opt] : NULL;

	if (h->refusing && opt != NBD_OPT_ABORT)
		return shutting_down(h, opt);
	if (h->shared->creds && !h->shared->tls_optional && !h->tls &&
	    opt != NBD_OPT_STARTTLS && opt != NBD_OPT_ABORT)
		return tls_first(h, opt);
	if (!o || !o->run)
		return option_refuse(
		    h, opt, NBD_REP_ERR_UNSUP, "unknown option");
	if (o->no_data && len)
		return option_malformed(h, opt);
	return o->run(h, opt, (struct cursor){data, len});
}
