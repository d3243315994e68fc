/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Doing what requests ask for.
 *
 * All requests that arrived together are taken as one round: look-ups first,
 * then the host I/O of all of them as one batch, then all replies in one send.
 * What cannot be planned, and whatever writes metadata or waits for the disk,
 * is a worker's job; its reply is sent when it is ready.
 */
#ifndef IMGD_EXEC_H
#define IMGD_EXEC_H

struct conn;
struct task_list;

/* Takes over the requests.  Called by the client's reader. */
void exec_round(struct conn *c, struct task_list *arrived);

#endif
