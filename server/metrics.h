/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The statistics, for people and for Prometheus (its text format 0.0.4, over
 * HTTP/1.0).
 */
#ifndef IMGD_METRICS_H
#define IMGD_METRICS_H

#include "core/err.h"

#include "export.h"

/* The text that a scraper gets; malloc'd, NULL when out of memory. */
char *metrics_text(const struct exports *x);
/* A few lines on stderr. */
void metrics_log(const struct exports *x);

/*
 * Answers scrapers on `address` (see listen_to()), one at a time, in a thread
 * of its own.  `x` lives longer.  NULL when it cannot.
 */
struct metrics *metrics_start(
    const char *address, const struct exports *x, struct err *e);
void metrics_stop(struct metrics *m); /* NULL is allowed */

#endif
