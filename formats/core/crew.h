/* SPDX-License-Identifier: BSD-3-Clause */
/* A crew: the same function in several threads until all of them return. */
#ifndef IMGD_CREW_H
#define IMGD_CREW_H

#define CREW_MAX 16u /* threads */

/* Processors that this process may use, 1 to CREW_MAX. */
unsigned crew_default(void);
/*
 * Run fn(arg) in the caller's thread and up to n - 1 others: fewer where the
 * system refuses more.  n is cut to CREW_MAX.
 */
void crew_run(unsigned n, void (*fn)(void *arg), void *arg);

#endif
