/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Credentials of a server or a client, from a tls-creds object: see tls.h.  The
 * files in its folder have fixed names.  Those without a name (tls-creds-anon)
 * have none: the stream is encrypted, and nobody knows with whom.
 */
#include <errno.h>
#include <gnutls/gnutls.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/object.h"

#include "tls.h"
#include "tlscreds.h"

struct tls_creds {
	bool client;
	const char *hostname; /* of the server, for a client; or NULL */
	bool psk, anon;	      /* else certificates */
	bool verify;	      /* the peer has to show a certificate */
	gnutls_certificate_credentials_t x509;
	gnutls_psk_server_credentials_t keys; /* of a server */
	gnutls_psk_client_credentials_t key;  /* of a client */
	gnutls_anon_server_credentials_t anon_server;
	gnutls_anon_client_credentials_t anon_client;
	gnutls_priority_t priority;
};

/* The path of a file in the folder.  1, or 0 when it need not be there. */
static int creds_path(struct options *o, const char *name, bool required,
    char *path, struct err *e)
{
	const char *dir = options_get(o, "dir");

	if (!dir)
		return err_usage(e, "Missing 'dir' property value");
	if (snprintf(path, PATH_MAX, "%s/%s", dir, name) >= PATH_MAX)
		return err_sys(e, ENAMETOOLONG,
		    "Unable to access credentials %s/%s", dir, name);
	if (!access(path, R_OK))
		return 1;
	if (!required && errno == ENOENT)
		return 0;
	return err_sys(e, errno, "Unable to access credentials %s", path);
}

static int bad(struct err *e, int rc, const char *what, const char *path)
{
	return err_set(e, ERR_SYSTEM, EINVAL, "Cannot load %s '%s': %s", what,
	    path, gnutls_strerror(rc));
}

static int load_ca(struct tls_creds *c, struct options *o, struct err *e)
{
	char path[PATH_MAX];
	int rc;

	if (creds_path(o, "ca-cert.pem", true, path, e) < 0)
		return -1;
	rc = gnutls_certificate_set_x509_trust_file(
	    c->x509, path, GNUTLS_X509_FMT_PEM);
	if (rc <= 0)
		return bad(e, rc ? rc : GNUTLS_E_NO_CERTIFICATE_FOUND,
		    "CA certificate", path);
	rc = creds_path(o, "ca-crl.pem", false, path, e);
	if (rc <= 0)
		return rc;
	rc = gnutls_certificate_set_x509_crl_file(
	    c->x509, path, GNUTLS_X509_FMT_PEM);
	return rc < 0 ? bad(e, rc, "CA revocation list", path) : 0;
}

static int load_key(struct tls_creds *c, struct options *o, struct err *e)
{
	const char *id = options_get(o, "passwordid"), *password = NULL;
	char cert[PATH_MAX], key[PATH_MAX];
	int rc;

	rc = creds_path(o, c->client ? "client-cert.pem" : "server-cert.pem",
	    !c->client, cert, e);
	if (rc <= 0)
		return rc;
	if (creds_path(o, c->client ? "client-key.pem" : "server-key.pem", true,
		key, e) < 0)
		return -1;
	if (id) {
		password = object_secret(id, e);
		if (!password)
			return -1;
	}
	rc = gnutls_certificate_set_x509_key_file2(
	    c->x509, cert, key, GNUTLS_X509_FMT_PEM, password, 0);
	return rc < 0 ? bad(e, rc, "certificate and key of", cert) : 0;
}

/* The key exchange needs no parameters of ours: gnutls has standard ones. */
static int load_x509(struct tls_creds *c, struct options *o, struct err *e)
{
	int rc = gnutls_certificate_allocate_credentials(&c->x509);

	if (rc)
		return err_nomem(e);
	c->verify = true;
	if (options_bool(o, "verify-peer", &c->verify, e) < 0 ||
	    load_ca(c, o, e) || load_key(c, o, e))
		return -1;
	if (c->client && c->verify && !c->hostname)
		return err_usage(e, "No hostname for certificate validation");
	return 0;
}

/* The key of one user in a file of USER:KEY lines. */
static int find_key(
    struct tls_creds *c, const char *path, const char *user, struct err *e)
{
	CLEANUP_FREE char *line = NULL;
	size_t size = 0, n = strlen(user);
	FILE *f = fopen(path, "re");
	int rc = -1;

	if (!f)
		return err_sys(e, errno, "Cannot load keys '%s'", path);
	while (rc && getline(&line, &size, f) > 0) {
		gnutls_datum_t key;

		if (strncmp(line, user, n) || line[n] != ':')
			continue;
		line[strcspn(line, "\r\n")] = 0;
		key.data = (uint8_t *)line + n + 1;
		key.size = (unsigned)strlen(line + n + 1);
		rc = gnutls_psk_set_client_credentials(
		    c->key, user, &key, GNUTLS_PSK_KEY_HEX);
		memset(line, 0, size);
		if (rc)
			break;
	}
	fclose(f);
	return rc ? err_usage(e, "No key of user '%s' in '%s'", user, path) : 0;
}

static int load_client_psk(
    struct tls_creds *c, struct options *o, const char *path, struct err *e)
{
	const char *user = options_get(o, "username");

	if (gnutls_psk_allocate_client_credentials(&c->key))
		return err_nomem(e);
	return find_key(c, path, user ? user : "qemu", e);
}

static int load_psk(struct tls_creds *c, struct options *o, struct err *e)
{
	char path[PATH_MAX];
	int rc;

	if (creds_path(o, "keys.psk", true, path, e) < 0)
		return -1;
	c->psk = true;
	if (c->client)
		return load_client_psk(c, o, path, e);
	if (gnutls_psk_allocate_server_credentials(&c->keys))
		return err_nomem(e);
	rc = gnutls_psk_set_server_credentials_file(c->keys, path);
	return rc ? bad(e, rc, "keys", path) : 0;
}

static int load_anon(struct tls_creds *c, struct err *e)
{
	c->anon = true;
	if (c->client)
		return gnutls_anon_allocate_client_credentials(&c->anon_client)
			   ? err_nomem(e)
			   : 0;
	if (gnutls_anon_allocate_server_credentials(&c->anon_server) ||
	    gnutls_anon_set_server_known_dh_params(
		c->anon_server, GNUTLS_SEC_PARAM_MEDIUM))
		return err_nomem(e);
	return 0;
}

/* The key exchanges that are not in NORMAL. */
static const char *key_exchange(const struct tls_creds *c)
{
	return c->psk	 ? ":+ECDHE-PSK:+DHE-PSK:+PSK"
	       : c->anon ? ":+ANON-ECDH:+ANON-DH"
			 : "";
}

static int load_priority(struct tls_creds *c, struct options *o, struct err *e)
{
	const char *base = options_get(o, "priority"), *at;
	char text[1024];
	int rc, n;

	n = snprintf(
	    text, sizeof text, "%s%s", base ? base : "NORMAL", key_exchange(c));
	if (n >= (int)sizeof text)
		return err_usage(e, "Parameter 'priority' is too long");
	rc = gnutls_priority_init(&c->priority, text, &at);
	if (rc)
		return err_usage(e, "Unable to set TLS session priority %s: %s",
		    text, gnutls_strerror(rc));
	return 0;
}

static int load(struct tls_creds *c, const char *id, struct err *e)
{
	const struct object *x = object_find(id);
	const char *endpoint;
	int rc;

	if (!x)
		return err_usage(e,
		    "Failed to get TLS creds: No TLS credentials with id '%s'",
		    id);
	if (strncmp(x->type, "tls-creds-", 10))
		return err_usage(e,
		    "Failed to get TLS creds: Object with id '%s' is not TLS "
		    "credentials",
		    id);
	endpoint = options_get(x->properties, "endpoint");
	if (strcmp(endpoint ? endpoint : "client",
		c->client ? "client" : "server"))
		return err_usage(e,
		    "Failed to get TLS creds: Expected TLS "
		    "credentials for a %s endpoint",
		    c->client ? "client" : "server");
	if (!strcmp(x->type, "tls-creds-x509"))
		rc = load_x509(c, x->properties, e);
	else if (!strcmp(x->type, "tls-creds-psk"))
		rc = load_psk(c, x->properties, e);
	else
		rc = load_anon(c, e);
	return rc ? rc : load_priority(c, x->properties, e);
}

static struct tls_creds *new_creds(
    const char *id, bool client, const char *hostname, struct err *e)
{
	struct tls_creds *c = calloc(1, sizeof *c);

	if (!c) {
		err_nomem(e);
		return NULL;
	}
	c->client = client;
	c->hostname = hostname;
	if (!load(c, id, e))
		return c;
	tls_creds_free(c);
	return NULL;
}

struct tls_creds *tls_creds_new(const char *id, struct err *e)
{
	return new_creds(id, false, NULL, e);
}

struct tls_creds *tls_client_creds_new(
    const char *id, const char *hostname, struct err *e)
{
	return new_creds(id, true, hostname, e);
}

unsigned tls_creds_end(const struct tls_creds *c)
{
	return c->client ? GNUTLS_CLIENT : GNUTLS_SERVER;
}

void tls_creds_free(struct tls_creds *c)
{
	if (!c)
		return;
	if (c->x509)
		gnutls_certificate_free_credentials(c->x509);
	if (c->keys)
		gnutls_psk_free_server_credentials(c->keys);
	if (c->key)
		gnutls_psk_free_client_credentials(c->key);
	if (c->anon_server)
		gnutls_anon_free_server_credentials(c->anon_server);
	if (c->anon_client)
		gnutls_anon_free_client_credentials(c->anon_client);
	if (c->priority)
		gnutls_priority_deinit(c->priority);
	free(c);
}

/* What gnutls knows them by. */
static int set_credentials(const struct tls_creds *c, gnutls_session_t session)
{
	if (c->psk)
		return gnutls_credentials_set(session, GNUTLS_CRD_PSK,
		    c->client ? (void *)c->key : (void *)c->keys);
	if (c->anon)
		return gnutls_credentials_set(session, GNUTLS_CRD_ANON,
		    c->client ? (void *)c->anon_client
			      : (void *)c->anon_server);
	return gnutls_credentials_set(session, GNUTLS_CRD_CERTIFICATE, c->x509);
}

int tls_creds_use(
    const struct tls_creds *c, gnutls_session_t session, struct err *e)
{
	int rc = gnutls_priority_set(session, c->priority);

	if (!rc)
		rc = set_credentials(c, session);
	if (rc)
		return err_set(e, ERR_SYSTEM, EPROTO, "TLS session: %s",
		    gnutls_strerror(rc));
	if (!c->verify)
		return 0;
	if (!c->client)
		gnutls_certificate_server_set_request(
		    session, GNUTLS_CERT_REQUIRE);
	gnutls_session_set_verify_cert(session, c->hostname, 0);
	return 0;
}
