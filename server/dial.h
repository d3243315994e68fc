/* SPDX-License-Identifier: BSD-3-Clause */
/* Connecting to a server, for --list. */
#ifndef IMGD_DIAL_H
#define IMGD_DIAL_H

#include "core/err.h"

/* Each returns a connected socket, or -1. */
int dial_unix(const char *path, struct err *e);
int dial_tcp(const char *host, const char *port, struct err *e);

#endif
