/* SPDX-License-Identifier: BSD-3-Clause */
/* For args.c: the command line while it is read, and its last checks. */
#ifndef IMGD_LINE_H
#define IMGD_LINE_H

#include "args.h"

struct line {
	struct args *a;
	bool cache, discard, aio; /* seen: they may come once */
	bool device;		  /* seen: something that says what is served */
	bool single;	     /* something that only a single export can have */
	const char **export; /* of --export */
	unsigned export_n;
};

/* What is wrong with the whole, with so many operands; or NULL. */
const char *line_contradiction(const struct line *l, int file_n);
/*
 * There are no trace events: what names them by a pattern is accepted, one by
 * its name gets a warning.
 */
int line_trace(const char *text, struct err *e);
/* Makes a->exports of what --export says. */
int line_exports(struct line *l, struct err *e);

#endif
