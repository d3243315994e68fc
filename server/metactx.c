/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The options that list and select metadata contexts.
 *
 * A query is a name.  One that ends in `:` is a wildcard when contexts are
 * listed (`base:`, `qemu:dirty-bitmap:`), and selects nothing.
 */
#include <string.h>

#include "context.h"
#include "handshake.h"
#include "nbd.h"
#include "options.h"

static bool query_matches(const struct text *q, const char *name, bool wildcard)
{
	if (wildcard && q->len && q->p[q->len - 1] == ':')
		return q->len <= strlen(name) && !memcmp(q->p, name, q->len);
	return q->len == strlen(name) && !memcmp(q->p, name, q->len);
}

static uint64_t query_contexts(
    const struct export *x, const struct text *q, bool wildcard)
{
	uint64_t found = 0;

	for (unsigned i = 0; i < CONTEXT_MAX; i++) {
		const char *name = context_name(x, i);

		if (name && query_matches(q, name, wildcard))
			found |= 1ull << i;
	}
	return found;
}

static uint64_t all_contexts(const struct export *x)
{
	uint64_t all = 0;

	for (unsigned i = 0; i < CONTEXT_MAX; i++)
		if (context_name(x, i))
			all |= 1ull << i;
	return all;
}

/* Are there n queries, and nothing else? */
static bool queries_ok(struct cursor c, uint32_t n)
{
	struct text q;

	for (; n; n--)
		if (!get_text(&c, &q))
			return false;
	return !c.left;
}

static bool reply_context(
    struct handshake *h, uint32_t opt, unsigned id, const char *name)
{
	uint8_t b[4 + NBD_STRING_MAX];
	size_t len = strlen(name);

	put_be32(b, opt == NBD_OPT_SET_META_CONTEXT ? id : 0);
	memcpy(b + 4, name, len);
	return handshake_reply(h, opt, NBD_REP_META_CONTEXT, b, 4 + len);
}

enum option_next option_meta_context(
    struct handshake *h, uint32_t opt, struct cursor c)
{
	bool list = opt == NBD_OPT_LIST_META_CONTEXT;
	CLEANUP(export) const struct export *x = NULL;
	struct text name, q;
	uint64_t found = 0;
	uint32_t n;

	if (!list)
		h->session->contexts = 0;
	if (!h->session->structured)
		return option_refuse(h, opt, NBD_REP_ERR_INVALID,
		    "structured replies must be negotiated first");
	if (!get_text(&c, &name) || !get_u32(&c, &n) || !queries_ok(c, n))
		return option_malformed(h, opt);
	x = option_export(h, name.p, name.len);
	if (!x)
		return option_unknown_export(h, opt);
	while (get_text(&c, &q))
		found |= query_contexts(x, &q, list);
	if (list && !n)
		found = all_contexts(x);
	for (unsigned i = 0; i < CONTEXT_MAX; i++)
		if (found & 1ull << i &&
		    !reply_context(h, opt, i, context_name(x, i)))
			return OPTION_CLOSE;
	if (!list) {
		h->session->contexts = found;
		export_release(h->contexts_of);
		h->contexts_of = take(x);
	}
	return option_ack(h, opt);
}
