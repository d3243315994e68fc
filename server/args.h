/* SPDX-License-Identifier: BSD-3-Clause */
/* The command line: most of qemu-nbd's, with the same meaning. */
#ifndef IMGD_ARGS_H
#define IMGD_ARGS_H

#include <stdbool.h>
#include <stdint.h>

#include "exportlist.h"

struct args {
	struct export_spec image; /* the only export, or what all begin with */
	struct export_list exports; /* several, or ... */
	const char *exports_dir;    /* a folder of them, or NULL */

	const char *tls_creds, *tls_authz; /* IDs of objects, or NULL */
	bool tls_optional;
	const char *tls_hostname; /* of the server that is listed; or NULL */

	bool list, json; /* only list what a server exports */

	const char *device; /* of the kernel, to be connected; or NULL */
	bool disconnect;    /* only disconnect the device image.file */

	const char *socket;	 /* path of a Unix socket, or NULL: TCP */
	const char *host, *port; /* NULL: not given */
	const char **listen;	 /* more addresses */
	unsigned listen_n;
	unsigned shared;	   /* clients at a time; 0: no limit */
	uint64_t client_rate;	   /* bytes a second; 0: no limit */
	unsigned client_requests;  /* in flight for one; 0: the usual */
	bool persistent;	   /* stay when the last client leaves */
	const char *selinux_label; /* of the sockets, or NULL */
	unsigned handshake_limit;  /* seconds; 0: none */

	const char *metrics; /* address for scrapers, or NULL */
	bool fork, verbose;
	const char *pid_file; /* or NULL */
	const char *run;      /* command to run while serving, or NULL */
};

enum args_result { ARGS_RUN, ARGS_EXIT_OK, ARGS_EXIT_FAILURE };

/*
 * Prints what is wrong, or what was asked for (--help).  The strings are the
 * caller's argv.
 */
enum args_result args_parse(struct args *a, int argc, char **argv);
void args_clear(struct args *a);

#endif
