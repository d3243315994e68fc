/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Replies: from a request that has ended to the chunks that are sent.
 * Nothing can fail any more when a reply is encoded, so its last content chunk
 * can be marked as the final one.
 */
#include <string.h>

#include "conn.h"
#include "nbd.h"
#include "task.h"

/* The reply's only chunk; what a read had planned goes away. */
static struct chunk *only_chunk(struct task *r)
{
	r->chunk_n = 0;
	r->chunk[0] = (struct chunk){0};
	r->chunk_n = 1;
	return &r->chunk[0];
}

static void reply_error(struct task *r, bool structured)
{
	struct chunk *c = only_chunk(r);
	uint16_t len = r->message ? (uint16_t)strlen(r->message) : 0;

	if (!structured) {
		c->head_len = wire_simple(c->head, &r->rq, r->error);
		return;
	}
	c->head_len = wire_error(c->head, &r->rq, r->error, len);
	c->data = r->message;
	c->data_len = len;
}

static void reply_done(struct task *r, bool structured)
{
	struct chunk *c = only_chunk(r);

	if (structured)
		c->head_len = wire_none(c->head, &r->rq);
	else
		c->head_len = wire_simple(c->head, &r->rq, 0);
}

static void reply_read(struct task *r, bool structured)
{
	for (size_t i = 0; i < r->chunk_n; i++) {
		struct chunk *c = &r->chunk[i];
		bool last = i + 1 == r->chunk_n;

		if (c->hole) {
			c->head_len = wire_hole(
			    c->head, &r->rq, last, c->off, (uint32_t)c->len);
			continue;
		}
		if (!c->placed)
			c->data = r->data + (c->off - r->rq.off);
		c->data_len = c->len;
		if (structured)
			c->head_len = wire_data(
			    c->head, &r->rq, last, c->off, (uint32_t)c->len);
		else
			c->head_len = wire_simple(c->head, &r->rq, 0);
	}
}

/* The chunks of a block status come encoded: see status.c. */
void task_reply(struct task *r)
{
	bool structured = conn_session(r->conn)->structured;

	if (r->error)
		reply_error(r, structured);
	else if (r->rq.type == NBD_CMD_READ && r->chunk_n)
		reply_read(r, structured);
	else if (r->rq.type != NBD_CMD_BLOCK_STATUS)
		reply_done(r, structured);
}
