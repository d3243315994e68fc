/* SPDX-License-Identifier: BSD-3-Clause */
/* Names of NBD exports: see nbd_name.h.  Options are in nbd_options.c. */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../core/units.h"
#include "nbd_name.h"

#define EXPORT_MAX 4096u /* bytes: the protocol's limit for strings */

struct scheme {
	const char *name;
	bool tls, unix_socket;
};

static const struct scheme schemes[] = {
    {"nbd", false, false},
    {"nbd+tcp", false, false},
    {"nbd+unix", false, true},
    {"nbds", true, false},
    {"nbds+tcp", true, false},
    {"nbds+unix", true, true},
};

static const struct scheme *find_scheme(const char *name)
{
	size_t len = strcspn(name, ":");

	for (unsigned i = 0; name[len] && i < ARRAY_N(schemes); i++)
		if (strlen(schemes[i].name) == len &&
		    !strncmp(schemes[i].name, name, len))
			return &schemes[i];
	return NULL;
}

bool nbd_is_name(const char *name)
{
	return find_scheme(name);
}

void nbd_address_clear(struct nbd_address *a)
{
	free(a->path);
	free(a->host);
	free(a->port);
	free(a->export);
	free(a->bitmap);
	free(a->tls_dir);
	free(a->tls_psk);
	free(a->tls_user);
	*a = (struct nbd_address){0};
}

/* *out = a copy of the text, instead of what it was. */
static int set_text(char **out, const char *text, size_t len, struct err *e)
{
	free(*out);
	*out = strndup(text, len);
	return *out ? 0 : err_nomem(e);
}

int nbd_check_export(const struct nbd_address *a, struct err *e)
{
	size_t len = strlen(a->export);

	return len <= EXPORT_MAX
		   ? 0
		   : err_usage(e,
			 "NBD export name of %zu bytes, at most %u are allowed",
			 len, EXPORT_MAX);
}

/* ---- URIs ---------------------------------------------------------------- */

static int bad_uri(
    struct err *e, const char *what, const char *part, size_t len)
{
	return err_usage(e, "No valid URL specified: %s '%.*s'", what,
	    (int)min_u64(len, 200), part);
}

static int hex_digit(char c)
{
	if (isdigit((unsigned char)c))
		return c - '0';
	c = (char)tolower((unsigned char)c);
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* A part of a URI, without its %XX. */
static int decode(char **out, const char *text, size_t len, struct err *e)
{
	char *to = malloc(len + 1);

	free(*out);
	*out = to;
	if (!to)
		return err_nomem(e);
	for (size_t i = 0; i < len; i++) {
		int high = 0, low = 0;

		if (text[i] == '%') {
			high = i + 2 < len ? hex_digit(text[i + 1]) : -1;
			low = high >= 0 ? hex_digit(text[i + 2]) : -1;
			if (high < 0 || low < 0 || !(high | low))
				return bad_uri(e, "bad escape in", text, len);
			*to++ = (char)(high << 4 | low);
			i += 2;
		} else {
			*to++ = text[i];
		}
	}
	*to = 0;
	return 0;
}

static int read_port(
    struct nbd_address *a, const char *text, size_t len, struct err *e)
{
	unsigned long port = 0;

	if (!len)
		return set_text(&a->port, NBD_PORT, strlen(NBD_PORT), e);
	for (size_t i = 0; i < len; i++) {
		if (!isdigit((unsigned char)text[i]) || port > 65535)
			return bad_uri(e, "bad port", text, len);
		port = port * 10 + (unsigned)(text[i] - '0');
	}
	if (!port || port > 65535)
		return bad_uri(e, "a port is 1 to 65535, not", text, len);
	return set_text(&a->port, text, len, e);
}

/* HOST, HOST:PORT, [IPV6], [IPV6]:PORT */
static int read_host(
    struct nbd_address *a, const char *text, size_t len, struct err *e)
{
	const char *end = text + len, *host = text, *host_end, *rest;

	if (len && *text == '[') {
		host++;
		host_end = memchr(host, ']', (size_t)(end - host));
		if (!host_end)
			return bad_uri(e, "bad address", text, len);
		rest = host_end + 1;
	} else {
		host_end = memchr(text, ':', len);
		rest = host_end = host_end ? host_end : end;
	}
	if (host == host_end)
		return bad_uri(e, "no host in", text, len);
	if (rest < end && *rest != ':')
		return bad_uri(e, "bad address", text, len);
	rest += rest < end;
	if (decode(&a->host, host, (size_t)(host_end - host), e))
		return -1;
	return read_port(a, rest, (size_t)(end - rest), e);
}

/* [USER@]HOST[:PORT] */
static int read_authority(struct nbd_address *a, const struct scheme *s,
    const char *text, size_t len, struct err *e)
{
	const char *at = memchr(text, '@', len);
	size_t user_len = at ? (size_t)(at - text) : 0;

	/* Not shown: it may be a password. */
	if (user_len && memchr(text, ':', user_len))
		return err_usage(
		    e, "No valid URL specified: NBD has no passwords");
	if (at && decode(&a->tls_user, text, user_len, e))
		return -1;
	if (at)
		len -= user_len + 1;
	text = at ? at + 1 : text;
	if (!s->unix_socket)
		return read_host(a, text, len, e);
	return len ? bad_uri(e, "a Unix socket has no host", text, len) : 0;
}

static int read_bool(const char *text, bool *out, struct err *e)
{
	*out = !strcmp(text, "1") || !strcmp(text, "true");
	if (*out || !strcmp(text, "0") || !strcmp(text, "false"))
		return 0;
	return bad_uri(e, "not 0 or 1:", text, strlen(text));
}

static int read_parameter(struct nbd_address *a, const struct scheme *s,
    const char *text, size_t len, struct err *e)
{
	const char *equals = memchr(text, '=', len);
	size_t key_len = equals ? (size_t)(equals - text) : len;
	CLEANUP_FREE char *key = NULL;
	CLEANUP_FREE char *value = NULL;
	bool verify;

	if (decode(&key, text, key_len, e) ||
	    decode(
		&value, text + key_len + !!equals, len - key_len - !!equals, e))
		return -1;
	if (s->unix_socket && !strcmp(key, "socket")) {
		free(a->path);
		a->path = take(value);
		return 0;
	}
	if (s->tls && !strcmp(key, "tls-certificates")) {
		free(a->tls_dir);
		a->tls_dir = take(value);
		return 0;
	}
	if (s->tls && !strcmp(key, "tls-psk-file")) {
		free(a->tls_psk);
		a->tls_psk = take(value);
		a->tls = NBD_TLS_PSK;
		return 0;
	}
	if (s->tls && !strcmp(key, "tls-verify-peer")) {
		if (read_bool(value, &verify, e))
			return -1;
		a->tls_trust = !verify;
		return 0;
	}
	return bad_uri(e, "unknown parameter", key, strlen(key));
}

static int read_query(struct nbd_address *a, const struct scheme *s,
    const char *text, size_t len, struct err *e)
{
	while (len) {
		size_t n = 0;

		while (n < len && text[n] != '&' && text[n] != ';')
			n++;
		if (n && read_parameter(a, s, text, n, e))
			return -1;
		n += n < len;
		text += n;
		len -= n;
	}
	if (s->unix_socket && (!a->path || !*a->path))
		return err_usage(
		    e, "No valid URL specified: there is no '?socket=PATH'");
	return 0;
}

/* What stands after "://". */
static int read_uri(struct nbd_address *a, const struct scheme *s,
    const char *text, struct err *e)
{
	size_t len = strcspn(text, "/?#");

	a->tls = s->tls ? NBD_TLS_X509 : NBD_TLS_NONE;
	if (read_authority(a, s, text, len, e))
		return -1;
	text += len;
	text += *text == '/';
	len = strcspn(text, "?#");
	if (decode(&a->export, text, len, e))
		return -1;
	text += len;
	text += *text == '?';
	return read_query(a, s, text, strcspn(text, "#"), e);
}

/* ---- the old syntax ------------------------------------------------------ */

/* HOST:PORT; a port may be a name here. */
static int read_inet(
    struct nbd_address *a, const char *text, size_t len, struct err *e)
{
	const char *colon = memrchr(text, ':', len);
	size_t host_len = colon ? (size_t)(colon - text) : 0;

	if (!host_len || host_len + 1 == len)
		return err_usage(
		    e, "error parsing address '%.*s'", (int)len, text);
	if (set_text(&a->port, colon + 1, len - host_len - 1, e))
		return -1;
	if (*text == '[' && text[host_len - 1] == ']')
		return set_text(&a->host, text + 1, host_len - 2, e);
	return set_text(&a->host, text, host_len, e);
}

/* What stands after "nbd:". */
static int read_old(struct nbd_address *a, const char *text, struct err *e)
{
	static const char mark[] = ":exportname=";
	const char *export = strstr(text, mark);
	size_t len = export ? (size_t)(export - text) : strlen(text);

	if (export)
		export += strlen(mark);
	if (set_text(&a->export, export ? export : "", EXPORT_MAX + 1, e))
		return -1;
	if (!len || (export && !*export))
		return err_usage(e, "NBD server address missing");
	if (strncmp(text, "unix:", 5))
		return read_inet(a, text, len, e);
	return set_text(&a->path, text + 5, len - 5, e);
}

int nbd_parse_name(struct nbd_address *a, const char *name, struct err *e)
{
	const struct scheme *s = find_scheme(name);
	const char *rest;
	int rc;

	*a = (struct nbd_address)NBD_ADDRESS_INIT;
	if (!s)
		return bad_uri(e, "not NBD:", name, strlen(name));
	rest = name + strlen(s->name) + 1;
	if (!strncmp(rest, "//", 2))
		rc = read_uri(a, s, rest + 2, e);
	else if (s == &schemes[0])
		rc = read_old(a, rest, e);
	else
		rc = bad_uri(e, "no '//' in", name, strlen(name));
	return rc ? -1 : nbd_check_export(a, e);
}

/* ---- writing ------------------------------------------------------------- */

char *nbd_address_name(const struct nbd_address *a, struct err *e)
{
	const char *scheme = a->tls == NBD_TLS_NONE ? "nbd" : "nbds";
	const char *slash = *a->export ? "/" : "";
	bool v6 = a->host && strchr(a->host, ':');
	char *out = NULL;
	int rc;

	if (a->path)
		rc = asprintf(&out, "%s+unix://%s%s?socket=%s", scheme, slash,
		    a->export, a->path);
	else
		rc = asprintf(&out, "%s://%s%s%s:%s%s%s", scheme, v6 ? "[" : "",
		    a->host, v6 ? "]" : "", a->port, slash, a->export);
	if (rc >= 0)
		return out;
	err_nomem(e);
	return NULL;
}
