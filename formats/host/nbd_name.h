/* SPDX-License-Identifier: BSD-3-Clause */
/* Where an NBD export is, and how to get there: URIs and option lists. */
#ifndef IMGD_NBD_NAME_H
#define IMGD_NBD_NAME_H

#include <stdbool.h>
#include <stdint.h>

#include "../core/cleanup.h"
#include "../core/err.h"

struct options;

#define NBD_PORT     "10809"
#define NBD_STALL_S  300u
#define NBD_CONN_MAX 16u

enum nbd_tls { NBD_TLS_NONE, NBD_TLS_X509, NBD_TLS_PSK };

struct nbd_address {
	char *path;	   /* of a Unix socket, or NULL ...             */
	char *host, *port; /* ... and then these                        */
	char *export;	   /* never NULL                                */
	char *bitmap; /* what takes the place of its block status, or NULL */
	enum nbd_tls tls;
	char *tls_dir;	/* X509: certificates; NULL: the library's place */
	char *tls_psk;	/* PSK: the file with the keys                   */
	char *tls_user; /* or NULL                                       */
	bool tls_trust; /* X509: do not verify the server                */
	/* Limits, in seconds. */
	uint64_t open_s;      /* try to connect again when opening: that long */
	uint64_t reconnect_s; /* the same after a connection was lost         */
	uint64_t stall_s;     /* a server that is silent for longer is given
				 up                                           */
	unsigned conn_max;    /* connections at most; 0: the default */
};

/* clang-format off */
#define NBD_ADDRESS_INIT { .stall_s = NBD_STALL_S }
/* clang-format on */

/* Is this name for nbd_parse_name()?  By its scheme alone. */
bool nbd_is_name(const char *name);
/* Into *a, which is to be freed in any case.  Names:
 *   nbd://HOST[:PORT]/EXPORT  nbd+tcp:  nbds:  nbds+tcp:
 *   nbd+unix:///EXPORT?socket=PATH  nbds+unix:
 *   nbd:HOST:PORT[:exportname=EXPORT]  nbd:unix:PATH[:exportname=EXPORT] */
int nbd_parse_name(struct nbd_address *a, const char *name, struct err *e);
/* `server.type`, `server.path`, ..., `path`, `host`, `port`, `export`,
 * `tls-creds`, `reconnect-delay`, ...; marks what it takes. */
int nbd_parse_options(struct nbd_address *a, struct options *o, struct err *e);
int nbd_check_export(const struct nbd_address *a, struct err *e);
/* For messages and `info`, the same for every way to write it; malloc'd. */
char *nbd_address_name(const struct nbd_address *a, struct err *e);
/* Set the pointers free, and the rest to nothing. */
void nbd_address_clear(struct nbd_address *a);

#endif
