/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Who may: the rules of an authz object.  An identity is the distinguished
 * name of a client's certificate, or the user name of its key.
 *
 * Threads: any number may ask.
 */
#ifndef IMGD_AUTHZ_H
#define IMGD_AUTHZ_H

#include <stdbool.h>

#include "core/err.h"

struct authz;

/* Of the object with this ID; the object's folder is the current one. */
struct authz *authz_new(const char *id, struct err *e);
void authz_free(struct authz *a); /* NULL is allowed */
/* `identity` NULL: one who is not known, and may nothing. */
bool authz_allows(struct authz *a, const char *identity);

#endif
