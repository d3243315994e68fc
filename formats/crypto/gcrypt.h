/* SPDX-License-Identifier: BSD-3-Clause */
/* Getting libgcrypt ready, and its error messages: for the files here alone. */
#ifndef IMGD_CRYPTO_GCRYPT_H
#define IMGD_CRYPTO_GCRYPT_H

#include <gcrypt.h>

#include "../core/err.h"

/* Before any other call of it. */
void crypto_ready(void);
/* `what` failed.  Returns -1. */
int crypto_failed(gcry_error_t code, const char *what, struct err *e);

#endif
