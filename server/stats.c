/* SPDX-License-Identifier: BSD-3-Clause */
/* Counting requests: see stats.h. */
#include <stddef.h>

#include "stats.h"
#include "task.h"

const char *stats_command(unsigned type)
{
	static const char *const names[STATS_COMMANDS] = {
	    [NBD_CMD_READ] = "read",
	    [NBD_CMD_WRITE] = "write",
	    [NBD_CMD_FLUSH] = "flush",
	    [NBD_CMD_TRIM] = "trim",
	    [NBD_CMD_CACHE] = "cache",
	    [NBD_CMD_WRITE_ZEROES] = "write_zeroes",
	    [NBD_CMD_BLOCK_STATUS] = "block_status",
	};

	return names[type];
}

static void add(_Atomic uint64_t *counter, uint64_t n)
{
	if (n)
		atomic_fetch_add_explicit(counter, n, memory_order_relaxed);
}

void stats_add(struct stats *s, const struct task_list *l)
{
	uint64_t requests[STATS_COMMANDS] = {0}, errors = 0, read = 0,
		 written = 0;

	for (const struct task *r = l->head; r; r = r->next) {
		/* A command that does not exist is an error only. */
		if (r->rq.type < STATS_COMMANDS)
			requests[r->rq.type]++;
		errors += r->error != 0;
		if (r->error)
			continue;
		read += r->rq.type == NBD_CMD_READ ? r->rq.len : 0;
		written += r->rq.type == NBD_CMD_WRITE ? r->rq.len : 0;
	}
	for (unsigned i = 0; i < STATS_COMMANDS; i++)
		add(&s->requests[i], requests[i]);
	add(&s->errors, errors);
	add(&s->read_len, read);
	add(&s->written_len, written);
}
