/* SPDX-License-Identifier: BSD-3-Clause */
/* For builds without libnbd. */
#include "hostfile.h"
#include "nbd_name.h"

struct hostfile *host_open_nbd(
    struct nbd_address *a, unsigned flags, struct err *e)
{
	(void)flags;
	nbd_address_clear(a);
	err_unsupported(e, "This program was built without NBD support");
	return NULL;
}
