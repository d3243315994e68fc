/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Asking a server what it exports: the client's side of the negotiation, as
 * far as --list needs it.
 *
 * The server is not trusted: replies, exports and contexts are limited.
 */
#ifndef IMGD_QUERY_H
#define IMGD_QUERY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/err.h"

struct tls_creds;

struct query_export {
	char *name, *description; /* description NULL: none */
	bool has_info, has_sizes;
	uint64_t size;
	uint16_t flags; /* NBD_FLAG_* */
	uint32_t min_block, opt_block, max_block;
	char **context; /* names of metadata contexts */
	size_t context_n;
};

struct query {
	bool tls, structured, extended;
	struct query_export *export;
	size_t n;
};

/*
 * Takes over a connected socket.  `creds` NULL: without TLS.  Call
 * query_clear() in any case.
 */
int query_run(
    struct query *q, int fd, const struct tls_creds *creds, struct err *e);
void query_clear(struct query *q);

#endif
