/* SPDX-License-Identifier: BSD-3-Clause */
/* NBD exports as option lists: see nbd_name.h. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../core/object.h"
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

/* A dirty bitmap in place of the block status: dirty is not there. */
static int read_bitmap(struct nbd_address *a, struct options *o, struct err *e)
{
	const char *name = options_get(o, "x-dirty-bitmap");

	if (!name)
		return 0;
	if (strncmp(name, "qemu:dirty-bitmap:", 18))
		return err_unsupported(e,
		    "x-dirty-bitmap '%s' is not supported: only "
		    "qemu:dirty-bitmap:NAME is",
		    name);
	return copy_text(&a->bitmap, name, e);
}

/* ---- TLS ----------------------------------------------------------------- */

static int join(char **out, const char *dir, const char *file, struct err *e)
{
	free(*out);
	if (asprintf(out, "%s/%s", dir, file) >= 0)
		return 0;
	*out = NULL;
	return err_nomem(e);
}

static int check_file(const char *path, struct err *e)
{
	return access(path, R_OK)
		   ? err_sys(e, errno, "Unable to access credentials %s", path)
		   : 0;
}

static int use_x509(
    struct nbd_address *a, const char *dir, struct options *o, struct err *e)
{
	CLEANUP_FREE char *ca = NULL;
	bool verify = true;

	a->tls = NBD_TLS_X509;
	if (options_bool(o, "verify-peer", &verify, e) < 0 ||
	    join(&ca, dir, "ca-cert.pem", e) || check_file(ca, e))
		return -1;
	a->tls_trust = !verify;
	if (options_has(o, "passwordid"))
		return err_unsupported(e,
		    "The client's key is encrypted ('passwordid'), and libnbd "
		    "cannot read such a key");
	return copy_text(&a->tls_dir, dir, e);
}

static int use_psk(
    struct nbd_address *a, const char *dir, struct options *o, struct err *e)
{
	const char *user = options_get(o, "username");

	a->tls = NBD_TLS_PSK;
	return join(&a->tls_psk, dir, "keys.psk", e) ||
		       check_file(a->tls_psk, e) ||
		       copy_text(&a->tls_user, user ? user : "qemu", e)
		   ? -1
		   : 0;
}

/* The object that `tls-creds` names. */
static int use_creds(struct nbd_address *a, const char *id, struct err *e)
{
	const struct object *x = object_find(id);
	const char *dir, *end;

	if (!x)
		return err_usage(e, "No TLS credentials with id '%s'", id);
	if (strncmp(x->type, "tls-creds-", 10))
		return err_usage(
		    e, "Object with id '%s' is not TLS credentials", id);
	end = options_get(x->properties, "endpoint");
	if (end && strcmp(end, "client"))
		return err_usage(
		    e, "Expecting TLS credentials with a client endpoint");
	dir = options_get(x->properties, "dir");
	if (!dir)
		return err_usage(e, "No directory ('dir') in object '%s'", id);
	if (options_has(x->properties, "priority"))
		return err_unsupported(
		    e, "libnbd takes no 'priority' of object '%s'", id);
	if (!strcmp(x->type, "tls-creds-x509"))
		return use_x509(a, dir, x->properties, e);
	if (!strcmp(x->type, "tls-creds-psk"))
		return use_psk(a, dir, x->properties, e);
	return err_unsupported(e,
	    "TLS credentials of type '%s' cannot be used: libnbd has none",
	    x->type);
}

/* The name in the server's certificate is that of the host. */
static int read_tls(struct nbd_address *a, struct options *o, struct err *e)
{
	const char *creds = options_get(o, "tls-creds");
	const char *name = options_get(o, "tls-hostname");

	if (name && !creds)
		return err_usage(e, "tls-hostname has no effect without "
				    "tls-creds");
	if (name && (!a->host || strcmp(name, a->host)))
		return err_unsupported(
		    e, "libnbd takes no other 'tls-hostname' than the host's");
	return creds ? use_creds(a, creds, e) : 0;
}

int nbd_parse_options(struct nbd_address *a, struct options *o, struct err *e)
{
	const char *export = options_get(o, "export");

	*a = (struct nbd_address)NBD_ADDRESS_INIT;
	if (read_address(a, o, e) ||
	    copy_text(&a->export, export ? export : "", e) ||
	    nbd_check_export(a, e) || read_limits(a, o, e) ||
	    read_bitmap(a, o, e))
		return -1;
	return read_tls(a, o, e);
}
