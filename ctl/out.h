/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Results, on stdout.
 *
 * A result is put together in memory and printed when it is complete, so that
 * nothing half-finished is seen when a command fails.
 */
#ifndef CTL_OUT_H
#define CTL_OUT_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

struct out {
	FILE *f; /* print here */
	char *text;
	size_t len;
};

/* 0, or EXIT_FAILURE after a message. */
int out_begin(struct out *o);
/*
 * Print what was collected if `status` is 0, and release it.  Returns `status`,
 * or EXIT_FAILURE after a message when it could not be printed.
 */
int out_end(struct out *o, int status);
/* Is everything written to stdout so far out?  As above. */
int out_flush(void);

/* "1.5 GiB": three digits and a unit.  Fits in OUT_SIZE_LEN bytes. */
#define OUT_SIZE_LEN 48
const char *out_size(char *buf, uint64_t bytes);

/* --output: false after a message when it is neither human nor json. */
bool out_wants_json(const char *text, bool *json);

#endif
