/* SPDX-License-Identifier: BSD-3-Clause */
/* The last checks of the command line: see line.h. */
#include <stddef.h>
#include <string.h>

#include "line.h"
#include "log.h"

static const char *list_contradiction(const struct line *l, int file_n)
{
	if (file_n)
		return "List mode is incompatible with a file name";
	if (l->device)
		return "List mode is incompatible with per-device settings";
	if (l->a->fork)
		return "List mode is incompatible with forking";
	if (l->a->tls_authz)
		return "TLS authorization is incompatible with export list";
	return NULL;
}

static const char *device_contradiction(const struct line *l)
{
	const struct args *a = l->a;

	if (a->device && a->disconnect)
		return "-c and -d are mutually exclusive";
	if (l->export_n || a->exports_dir)
		return "-c and -d cannot be used with --export or "
		       "--exports-dir";
	if (a->tls_creds)
		return "TLS is not supported with a host device";
	return NULL;
}

const char *line_contradiction(const struct line *l, int file_n)
{
	const struct args *a = l->a;

	if (a->list && list_contradiction(l, file_n))
		return list_contradiction(l, file_n);
	if ((a->device || a->disconnect) && device_contradiction(l))
		return device_contradiction(l);
	if (a->socket && (a->host || a->port))
		return "-k cannot be used with -p or -b";
	if (a->socket && a->socket[0] != '/')
		return "socket path must be absolute";
	if (a->image.image_opts && a->image.open.format)
		return "--image-opts and -f are mutually exclusive";
	if (export_detect_zeroes_wrong(&a->image))
		return export_detect_zeroes_wrong(&a->image);
	if (a->run && a->fork)
		return "--run and --fork are mutually exclusive";
	if (a->tls_authz && !a->tls_creds)
		return "--tls-authz is not permitted without --tls-creds";
	if (a->tls_hostname && !a->tls_creds)
		return "--tls-hostname is not permitted without --tls-creds";
	if (a->tls_hostname && !a->list)
		return "TLS hostname is only supported with export list";
	if (a->tls_optional && !a->tls_creds)
		return "--tls-optional is not permitted without --tls-creds";
	if (a->tls_optional && a->tls_authz)
		return "--tls-optional and --tls-authz are mutually exclusive";
	return NULL;
}

int line_trace(const char *text, struct err *e)
{
	CLEANUP(options) struct options *o = options_new(e);
	const char *event, *unused;

	if (!o || options_parse(o, text, "enable", e))
		return -1;
	event = options_get(o, "enable");
	options_get(o, "events");
	options_get(o, "file");
	unused = options_unused(o);
	if (unused)
		return err_usage(e, "Invalid parameter '%s'", unused);
	if (event && !strpbrk(event, "*?"))
		log_error("warning: trace event '%s' does not exist", event);
	return 0;
}

int line_exports(struct line *l, struct err *e)
{
	struct args *a = l->a;

	if (l->single || a->image.image_opts)
		return err_usage(e,
		    "-x, -D, -o, -l, -B and --image-opts cannot "
		    "be used with --export or --exports-dir");
	for (unsigned i = 0; i < l->export_n; i++)
		if (export_list_add(&a->exports, &a->image, l->export[i], e))
			return -1;
	for (size_t i = 0; i < a->exports.n; i++)
		if (a->exports.spec[i].authz && !a->tls_creds)
			return err_usage(e,
			    "tls-authz of export '%s' is not "
			    "permitted without --tls-creds",
			    a->exports.spec[i].name);
	return 0;
}
