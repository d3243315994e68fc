/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The signals that end the program: HUP, INT and TERM.
 *
 * By default they end it at once, and the temporary file of the command (see
 * target.h) goes first.  While an image is written in place that would leave
 * it as after a crash; so then the signal is noted, and the command gives up
 * or completes what it does, in order.  Only after that the program ends by
 * the same signal.  One that follows after a second ends it at once.
 *
 * One that is ignored when the program starts stays ignored (nohup).
 */
#ifndef CTL_SIGNALS_H
#define CTL_SIGNALS_H

#include <stdbool.h>

/* First and last. */
void signals_begin(void);
void signals_end(void);
/* From now on an image is written in place. */
void signals_defer(void);
/* Is the command to give up? */
bool signals_noted(void);
/* The file to remove, from mkostemp(pattern); -1 on failure with errno set. */
int signals_temp_make(char *pattern);
void signals_temp_keep(void);

#endif
