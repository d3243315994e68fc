/* SPDX-License-Identifier: BSD-3-Clause */
/* What a request's header asks for: see intent.h. */
#include "intent.h"
#include "log.h"
#include "nbd.h"
#include "task.h"

bool intent_read(struct intent *t, const uint8_t *header,
    const struct session *s, bool stopping)
{
	*t = (struct intent){.error = 0};
	if (!wire_request(header, s->extended, &t->rq)) {
		log_debug("not a request: the client is dropped");
		return false;
	}
	if (t->rq.type == NBD_CMD_DISC)
		return false;
	if (t->rq.payload > NBD_PAYLOAD_MAX) {
		log_debug("payload of %llu bytes: the client is dropped",
		    (unsigned long long)t->rq.payload);
		return false;
	}
	if (stopping) {
		t->error = NBD_ESHUTDOWN;
		t->why = "server is shutting down";
	} else {
		t->error = task_check(s, &t->rq, &t->why);
	}
	if (!t->error)
		t->charge = task_charge(s, &t->rq);
	return true;
}

uint64_t intent_data_len(const struct intent *t)
{
	if (t->error)
		return 0;
	return t->rq.type == NBD_CMD_READ ? t->rq.len : t->rq.payload;
}

struct task *intent_task(struct intent *t, struct conn *c)
{
	struct task *r;

	if (!t->error) {
		r = task_new(c, &t->rq);
		if (r)
			return r;
		t->error = NBD_ENOMEM;
		t->why = "out of memory";
	}
	r = task_new_refused(c, &t->rq);
	if (!r)
		return NULL;
	log_debug("request %u, flags 0x%x, offset %llu, length %llu: %s",
	    t->rq.type, t->rq.flags, (unsigned long long)t->rq.off,
	    (unsigned long long)t->rq.len, t->why);
	task_fail(r, t->error, t->why);
	return r;
}
