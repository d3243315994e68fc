/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Progress, as scripts read it from stdout: `    (12.34/100%)` and a carriage
 * return, many times, nothing else in between, and a newline at the end.
 * Without -p, the signal USR1 asks for one such line on stderr.  A step is also
 * where a command gives up after a signal (see signals.h).
 */
#ifndef CTL_PROGRESS_H
#define CTL_PROGRESS_H

#include "command.h"
#include "formats/image.h"

struct progress {
	bool shown;
	double step; /* percent between two updates */
	double last; /* percent, the last that was printed */
};

/* -p and -q are taken from the common options. */
struct img_progress progress_begin(
    struct progress *p, const struct common *c, double step);
/* The end of a command that has changed an image, which it closes where `rc`
 * says that all went well.  rc, or -1. */
int progress_close(
    struct progress *p, struct image **img, int rc, struct err *e);
/* All is done: 100 %.  What the command prints may follow. */
void progress_full(struct progress *p);
/* The newline; also after a failure. */
void progress_end(struct progress *p);

#endif
