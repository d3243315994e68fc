/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What comes before and after every change of a host file: for hostfile.c and
 * share.c.
 */
#ifndef IMGD_HOST_CHANGE_H
#define IMGD_HOST_CHANGE_H

#include "hostfile.h"

/* May [off, off + len) be written?  A device ends where it ends. */
int change_check(struct hostfile *f, const char *verb, uint64_t off,
    uint64_t len, struct err *e);
/* Before a write up to `end`; the result goes to change_grown(). */
bool change_grows(struct hostfile *f, uint64_t end);
/*
 * After a write up to `end`: rc is 1 done, 0 nothing was tried, -1 failed.
 * What a failed write added is cut off, so that a later write past it leaves
 * zeroes between.
 */
void change_grown(struct hostfile *f, bool grows, int rc, uint64_t end);
/* After a change: HOST_DSYNC makes it durable. */
int change_done(struct hostfile *f, struct err *e);

#endif
