/* SPDX-License-Identifier: BSD-3-Clause */
/* Requests: what is allowed, memory, errors.  See task.h. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/units.h"

#include "export.h"
#include "nbd.h"
#include "task.h"
#include "status.h"

/* A longer read gets its room when it is run: few of them run at a time. */
#define SHORT_READ (16 * KiB)

struct command {
	bool known, writes;
	unsigned flags;	     /* that it takes, beside FUA */
	uint32_t beyond_end; /* error for a range outside the export */
};

static const struct command commands[] = {
    [NBD_CMD_READ] = {true, false, NBD_CMD_FLAG_DF, NBD_EINVAL},
    [NBD_CMD_WRITE] = {true, true, NBD_CMD_FLAG_PAYLOAD_LEN, NBD_ENOSPC},
    [NBD_CMD_FLUSH] = {true, false, 0, NBD_EINVAL},
    [NBD_CMD_TRIM] = {true, true, 0, NBD_EINVAL},
    [NBD_CMD_CACHE] = {true, false, 0, NBD_EINVAL},
    [NBD_CMD_WRITE_ZEROES] = {true, true,
	NBD_CMD_FLAG_NO_HOLE | NBD_CMD_FLAG_FAST_ZERO, NBD_ENOSPC},
    [NBD_CMD_BLOCK_STATUS] = {true, false,
	NBD_CMD_FLAG_REQ_ONE | NBD_CMD_FLAG_PAYLOAD_LEN, NBD_EINVAL},
};

static uint32_t check_read(const struct wire_request *rq, const char **why)
{
	if (rq->len <= NBD_PAYLOAD_MAX)
		return 0;
	*why = "read of more than 32 MiB";
	return rq->flags & NBD_CMD_FLAG_DF ? NBD_EOVERFLOW : NBD_EINVAL;
}

/* With a payload the length is not known yet. */
static uint32_t check_status(
    const struct session *s, const struct wire_request *rq, const char **why)
{
	if (!s->contexts) {
		*why = "block status without a negotiated context";
		return NBD_EINVAL;
	}
	if (rq->payload > STATUS_PAYLOAD_MAX) {
		*why = "payload is too long for a list of contexts";
		return NBD_EINVAL;
	}
	if (!rq->len && !rq->payload) {
		*why = "block status of no bytes";
		return NBD_EINVAL;
	}
	return 0;
}

static uint32_t check_flags(const struct session *s, const struct command *c,
    const struct wire_request *rq, const char **why)
{
	unsigned allowed = c->flags | NBD_CMD_FLAG_FUA;

	if (!s->structured)
		allowed &= ~NBD_CMD_FLAG_DF;
	if (!s->extended)
		allowed &= ~NBD_CMD_FLAG_PAYLOAD_LEN;
	if (rq->extended && rq->type == NBD_CMD_WRITE &&
	    !(rq->flags & NBD_CMD_FLAG_PAYLOAD_LEN)) {
		*why = "write without the flag for a payload";
		return NBD_EINVAL;
	}
	if (!(rq->flags & ~allowed))
		return 0;
	*why = "flag not allowed for this command";
	return NBD_EINVAL;
}

uint32_t task_check(
    const struct session *s, const struct wire_request *rq, const char **why)
{
	const struct command *c =
	    rq->type < ARRAY_N(commands) ? &commands[rq->type] : NULL;
	uint32_t error;

	if (!c || !c->known) {
		*why = "unknown command";
		return NBD_EINVAL;
	}
	error = check_flags(s, c, rq, why);
	if (error)
		return error;
	if (c->writes && !export_writable(s->export)) {
		*why = "export is read-only";
		return NBD_EPERM;
	}
	if (rq->type == NBD_CMD_FLUSH && (rq->off || rq->len)) {
		*why = "flush with an offset or a length";
		return NBD_EINVAL;
	}
	if (!range_ok(rq->off, rq->len, s->export->size)) {
		*why = "range is outside the export";
		return c->beyond_end;
	}
	if (rq->type == NBD_CMD_READ)
		return check_read(rq, why);
	if (rq->type == NBD_CMD_BLOCK_STATUS)
		return check_status(s, rq, why);
	return 0;
}

/* Bytes of r->data that it needs. */
static size_t data_len(const struct wire_request *rq)
{
	return rq->type == NBD_CMD_READ ? rq->len : rq->payload;
}

uint64_t task_charge(const struct session *s, const struct wire_request *rq)
{
	if (rq->type == NBD_CMD_BLOCK_STATUS)
		return status_len(s->contexts, rq->extended);
	return data_len(rq);
}

void task_arrived(struct task *r, const struct session *s)
{
	const char *why;
	uint32_t error;

	if (r->rq.type != NBD_CMD_BLOCK_STATUS)
		return;
	error = status_filter(r, s, &why);
	r->rq.payload = 0;
	if (!error)
		error = task_check(s, &r->rq, &why);
	if (error)
		task_fail(r, error, why);
}

void task_append(struct task_list *l, struct task *r)
{
	r->next = NULL;
	if (l->head)
		l->last->next = r;
	else
		l->head = r;
	l->last = r;
}

static struct task *new_task(
    struct conn *c, const struct wire_request *rq, size_t room)
{
	struct task *r = malloc(sizeof *r + room);

	if (!r)
		return NULL;
	memset(r, 0, sizeof *r);
	r->conn = c;
	r->rq = *rq;
	r->chunk = &r->first;
	r->data = room ? r->inside : NULL;
	return r;
}

struct task *task_new(struct conn *c, const struct wire_request *rq)
{
	size_t len = data_len(rq);

	if (rq->type == NBD_CMD_READ && len > SHORT_READ)
		len = 0;
	return new_task(c, rq, len);
}

struct task *task_new_refused(struct conn *c, const struct wire_request *rq)
{
	return new_task(c, rq, 0);
}

int task_buffer(struct task *r, struct err *e)
{
	if (!r->data)
		r->data = malloc(data_len(&r->rq));
	return r->data ? 0 : err_nomem(e);
}

void task_free(struct task *r)
{
	if (!r)
		return;
	if (r->chunk != &r->first)
		free(r->chunk);
	free(r->message);
	free(r->extra);
	if (r->data != r->inside)
		free(r->data);
	free(r);
}

void task_fail(struct task *r, uint32_t error, const char *message)
{
	if (r->error)
		return;
	r->error = error;
	r->message = strndup(message, NBD_STRING_MAX);
}

/* ENOTSUP and EOVERFLOW have one meaning each on the wire. */
static uint32_t nbd_error(const struct task *r, int errnum)
{
	switch (errnum) {
	case EPERM:
	case EROFS:
	case EACCES:
		return NBD_EPERM;
	case ENOMEM:
		return NBD_ENOMEM;
	case EINVAL:
		return NBD_EINVAL;
	case ENOSPC:
	case EDQUOT:
	case EFBIG:
		return NBD_ENOSPC;
	case ENOTSUP:
		return r->rq.flags & NBD_CMD_FLAG_FAST_ZERO ? NBD_ENOTSUP
							    : NBD_EINVAL;
	default:
		return NBD_EIO;
	}
}

void task_fail_err(struct task *r, const struct err *e)
{
	task_fail(r, nbd_error(r, e->errnum), e->msg);
}

/* Grows at powers of two, so that chunk_n alone tells how many there are. */
struct chunk *task_chunk(struct task *r, uint64_t off, uint64_t len)
{
	struct chunk *c;

	if (r->chunk_n && is_pow2(r->chunk_n)) {
		bool inside = r->chunk == &r->first;

		c = realloc(
		    inside ? NULL : r->chunk, 2 * r->chunk_n * sizeof *c);
		if (!c)
			return NULL;
		if (inside)
			*c = r->first;
		r->chunk = c;
	}
	c = &r->chunk[r->chunk_n++];
	memset(c, 0, sizeof *c);
	c->off = off;
	c->len = len;
	return c;
}
