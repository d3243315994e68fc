/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * libgcrypt: see gcrypt.h.  It has every cipher, hash and key derivation that
 * LUKS images use, and AES-XTS at several GB a second on one processor.
 */
#include <errno.h>
#include <pthread.h>

#include "gcrypt.h"

static pthread_once_t once = PTHREAD_ONCE_INIT;

/* Keys are in memory of our own (keymem.h), so its locked pool is not wanted.
 * Another library of the process may have been here before. */
static void init(void)
{
	gcry_check_version(NULL);
	if (gcry_control(GCRYCTL_INITIALIZATION_FINISHED_P))
		return;
	gcry_control(GCRYCTL_DISABLE_SECMEM, 0);
	gcry_control(GCRYCTL_INITIALIZATION_FINISHED, 0);
}

void crypto_ready(void)
{
	pthread_once(&once, init);
}

int crypto_failed(gcry_error_t code, const char *what, struct err *e)
{
	if (gcry_err_code(code) == GPG_ERR_ENOMEM)
		return err_nomem(e);
	return err_set(e, ERR_SYSTEM, EIO, "%s: %s", what, gcry_strerror(code));
}
