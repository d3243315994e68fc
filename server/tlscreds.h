/* SPDX-License-Identifier: BSD-3-Clause */
/* For tls.c: what a session needs of the credentials. */
#ifndef IMGD_TLSCREDS_H
#define IMGD_TLSCREDS_H

#include <gnutls/gnutls.h>

#include "core/err.h"

struct tls_creds;

/* GNUTLS_SERVER or GNUTLS_CLIENT. */
unsigned tls_creds_end(const struct tls_creds *c);
int tls_creds_use(
    const struct tls_creds *c, gnutls_session_t session, struct err *e);

#endif
