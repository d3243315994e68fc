/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The clients that are connected: a thread for each.
 *
 * Threads: all functions are the main thread's.
 */
#ifndef IMGD_CLIENTS_H
#define IMGD_CLIENTS_H

#include <stdbool.h>

#include "core/err.h"

#include "conn.h"

struct clients;

/* `shared` is kept. */
struct clients *clients_new(const struct conn_shared *shared, struct err *e);
/* None is connected.  NULL is allowed. */
void clients_free(struct clients *cs);

/* Readable when a client has left: call clients_reap(). */
int clients_event_fd(const struct clients *cs);
unsigned clients_n(const struct clients *cs);
/* Serves a connected socket; takes it over, also on failure. */
int clients_add(struct clients *cs, int fd, struct err *e);
/* Returns whether one of those that left had negotiated. */
bool clients_reap(struct clients *cs);
/* Tells every client to finish, and waits until they have left. */
void clients_stop(struct clients *cs);

#endif
