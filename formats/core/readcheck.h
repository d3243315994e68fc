/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The check of formats that are only read: everything that the mapping points
 * to is there, and what is packed unpacks.
 */
#ifndef IMGD_READCHECK_H
#define IMGD_READCHECK_H

#include "../driver.h"

struct readcheck {
	struct image *img;
	uint64_t step; /* guest bytes to go on after, where the map fails */
	struct img_check *out;
	void (*report)(void *arg, const char *line); /* or NULL */
	void *arg;
	bool errors_only; /* report only what cannot be looked at */
};

/* An error of the image, in one line. */
void readcheck_report(struct readcheck *c, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
/* Why something cannot be read: it is damaged, or cannot be looked at. */
void readcheck_found(struct readcheck *c, const struct err *one);
/* Go through the disk.  -1: that could not be done.  The gate is closed. */
int readcheck_run(struct readcheck *c, struct err *e);

#endif
