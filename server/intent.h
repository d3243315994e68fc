/* SPDX-License-Identifier: BSD-3-Clause */
/* What a request's header asks for, and whether the client may. */
#ifndef IMGD_INTENT_H
#define IMGD_INTENT_H

#include <stdbool.h>
#include <stdint.h>

#include "wire.h"

struct conn;
struct session;
struct task;

struct intent {
	struct wire_request rq;
	uint32_t error; /* NBD_E*, 0: it may */
	const char *why;
	uint64_t charge; /* bytes */
};

/* False when the stream cannot go on: the client has to be dropped. */
bool intent_read(struct intent *t, const uint8_t *header,
    const struct session *s, bool stopping);
/* Bytes of data that it moves, one way or the other. */
uint64_t intent_data_len(const struct intent *t);
/* The request, or its refusal; NULL when there is not even memory for that. */
struct task *intent_task(struct intent *t, struct conn *c);

#endif
