/* SPDX-License-Identifier: BSD-3-Clause */
/* What a server does as a process among others.  The main thread's. */
#ifndef IMGD_DAEMON_H
#define IMGD_DAEMON_H

#include <stdbool.h>

#include "core/err.h"

/*
 * Goes on in the background.  In the parent it returns only on failure: the
 * parent exits with 0 when daemon_ready() is called, and with 1 when the child
 * ends without.  Before there is a second thread.
 */
int daemon_fork(struct err *e);
/* Lets the parent go; `quiet`: and says nothing on stderr from now on. */
int daemon_ready(bool quiet, struct err *e);

/*
 * Writes the process ID to a file that is complete when it appears.  *path is
 * malloc'd, for daemon_remove_pid().
 */
int daemon_write_pid(const char *file, char **path, struct err *e);
void daemon_remove_pid(char *path); /* frees it; NULL is allowed */

/*
 * Starts `sh -c command` with the variables uri, unixsocket, port and
 * exportname where they are not NULL.  Returns its process ID.
 */
struct run_env {
	const char *uri, *unixsocket, *port, *exportname;
};
int daemon_run(const char *command, const struct run_env *env, struct err *e);

#endif
