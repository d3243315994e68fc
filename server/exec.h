/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Doing what requests ask for.
 *
 * Requests that arrived together are taken in rounds, each of so much data as a
 * core's cache holds: look-ups first, then the host I/O of all of them as one
 * batch, then all replies in one send.  Long data that the page cache has and
 * that stays where it is is not read at all: it is sent from there.
 *
 * What storage does not have at hand waits in a worker, together, and stops
 * nothing behind it.  What cannot be planned, and whatever writes metadata or
 * waits for the disk, is a worker's job; its reply is sent when it is ready.
 */
#ifndef IMGD_EXEC_H
#define IMGD_EXEC_H

struct conn;
struct task_list;

/* Takes over the requests.  Called by the client's reader. */
void exec_round(struct conn *c, struct task_list *arrived);

#endif
