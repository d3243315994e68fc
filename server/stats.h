/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What was done for an export, counted when a reply is ready.
 *
 * Threads: any.  A reader adds up a round before it touches what is shared.
 */
#ifndef IMGD_STATS_H
#define IMGD_STATS_H

#include <stdatomic.h>
#include <stdint.h>

#include "nbd.h"

#define STATS_COMMANDS (NBD_CMD_BLOCK_STATUS + 1)

struct task_list;

struct stats {
	_Atomic uint64_t requests[STATS_COMMANDS];
	_Atomic uint64_t errors; /* requests that were answered with one */
	_Atomic uint64_t read_len, written_len; /* bytes */
	_Atomic unsigned clients;		/* that use it now */
	_Atomic uint64_t clients_ever;
};

/* How metrics and people call a command; NULL for DISC, which has no reply. */
const char *stats_command(unsigned type);
void stats_add(struct stats *s, const struct task_list *l);

#endif
