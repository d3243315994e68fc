/* SPDX-License-Identifier: BSD-3-Clause */
/* NBD exports as option lists: see nbd_name.h. */
#include <stdlib.h>
#include <string.h>

#include "../core/options.h"
#include "nbd_name.h"

static int copy_text(char **out, const char *text, struct err *e)
{
	free(*out);
	*out = strdup(text);
	return *out ? 0 : err_nomem(e);
}

/* A value of `server` that must be there. */
static int need(
    struct options *server, const char *key, char **out, struct err *e)
{
	const char *text = options_get(server, key);

	if (!text)
		return err_usage(e, "Parameter '%s' is missing", key);
	return copy_text(out, text, e);
}

static int read_server(
    struct nbd_address *a, struct options *server, struct err *e)
{
	const char *type = options_get(server, "type"), *unused;
	int rc;

	if (!type)
		return err_usage(e, "Parameter 'type' is missing");
	if (!strcmp(type, "unix"))
		rc = need(server, "path", &a->path, e);
	else if (!strcmp(type, "inet"))
		rc = need(server, "host", &a->host, e) ||
		     need(server, "port", &a->port, e);
	else
		rc = err_usage(
		    e, "Parameter 'type' does not accept value '%s'", type);
	unused = options_unused(server);
	if (!rc && unused)
		rc = err_usage(e, "Parameter '%s' is unexpected", unused);
	return rc ? -1 : 0;
}

/* `server.*`, or `path`, or `host` and `port`. */
static int read_address(struct nbd_address *a, struct options *o, struct err *e)
{
	CLEANUP(options) struct options *server = options_sub(o, "server", e);
	const char *path = options_get(o, "path");
	const char *host = options_get(o, "host");
	const char *port = options_get(o, "port");

	if (!server)
		return -1;
	if (!options_empty(server))
		return path || host || port
			   ? err_usage(e,
				 "Cannot use 'server' and path/host/port at "
				 "the same time")
			   : read_server(a, server, e);
	if (path && host)
		return err_usage(
		    e, "path and host may not be used at the same time");
	if (path)
		return port ? err_usage(e, "port may not be used without host")
			    : copy_text(&a->path, path, e);
	if (!host)
		return err_usage(e, port ? "port may not be used without host"
					 : "NBD server address missing");
	return copy_text(&a->host, host, e) ||
		       copy_text(&a->port, port ? port : NBD_PORT, e)
		   ? -1
		   : 0;
}

static int read_number(struct options *o, const char *key, uint64_t max,
    uint64_t *out, struct err *e)
{
	int rc = options_u64(o, key, out, e);

	if (rc == 1 && *out > max)
		return err_usage(e, "Parameter '%s' is %llu, at most %llu", key,
		    (unsigned long long)*out, (unsigned long long)max);
	return rc < 0 ? -1 : 0;
}

static int read_limits(struct nbd_address *a, struct options *o, struct err *e)
{
	uint64_t conn_max = 0;

	if (read_number(o, "reconnect-delay", UINT32_MAX, &a->reconnect_s, e) ||
	    read_number(o, "open-timeout", UINT32_MAX, &a->open_s, e) ||
	    read_number(o, "request-timeout", UINT32_MAX, &a->stall_s, e) ||
	    read_number(o, "connections", NBD_CONN_MAX, &conn_max, e))
		return -1;
	if (!a->stall_s)
		a->stall_s = UINT32_MAX;
	a->conn_max = (unsigned)conn_max;
	return 0;
}

int nbd_parse_options(struct nbd_address *a, struct options *o, struct err *e)
{
	const char *export = options_get(o, "export");
	const char *creds = options_get(o, "tls-creds");

	*a = (struct nbd_address)NBD_ADDRESS_INIT;
	if (read_address(a, o, e) ||
	    copy_text(&a->export, export ? export : "", e) ||
	    nbd_check_export(a, e) || read_limits(a, o, e))
		return -1;
	if (creds)
		return err_usage(e, "No TLS credentials with id '%s'", creds);
	return 0;
}
