/* SPDX-License-Identifier: BSD-3-Clause */
/* The sockets that clients connect to.  The main thread's. */
#ifndef IMGD_LISTEN_H
#define IMGD_LISTEN_H

#include "core/err.h"

#define LISTEN_MAX 16

struct listeners {
	int fd[LISTEN_MAX];
	unsigned n;
	char *path[LISTEN_MAX]; /* of a Unix socket, removed at the end */
	char *host, *port; /* as clients reach the first TCP socket, or NULL */
};

/* The path of the first Unix socket, or NULL. */
const char *listen_path(const struct listeners *l);

/*
 * Sockets that are made from now on get this SELinux label; NULL: that of the
 * process.
 */
int listen_label(const char *label, struct err *e);
/* Each returns -1 when it cannot listen; call listen_close() in any case. */
int listen_unix(
    struct listeners *l, const char *path, int backlog, struct err *e);
/* Every address that the name stands for. */
int listen_tcp(struct listeners *l, const char *host, const char *port,
    int backlog, struct err *e);
/* `unix:PATH`, `HOST`, `HOST:PORT`, `[IPV6]:PORT` or `[IPV6]`. */
int listen_to(
    struct listeners *l, const char *address, int backlog, struct err *e);
/* The sockets that the service manager passed (LISTEN_FDS): how many. */
int listen_inherited(struct listeners *l, struct err *e);
/* A client, or -1 with *e set; e->errnum is EAGAIN when it went away. */
int listen_accept(int fd, struct err *e);
void listen_close(struct listeners *l);
/* The URI of an export, malloc'd; NULL when out of memory or unknown. */
char *listen_uri(const struct listeners *l, const char *export_name, bool tls);

#endif
