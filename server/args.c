/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The command line: see args.h.
 *
 * One table of getopt's options, one switch.
 */
#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/object.h"

#include "args.h"
#include "line.h"
#include "log.h"
#include "nbd.h"
#include "usage.h"
#include "values.h"

enum {
	OPT_CACHE = 256,
	OPT_DISCARD,
	OPT_IMAGE_OPTS,
	OPT_FORK,
	OPT_PID_FILE,
	OPT_HANDSHAKE_LIMIT,
	OPT_LISTEN,
	OPT_METRICS,
	OPT_RUN,
	OPT_OBJECT,
	OPT_TLS_CREDS,
	OPT_TLS_AUTHZ,
	OPT_TLS_OPTIONAL,
	OPT_TLS_HOSTNAME,
	OPT_OUTPUT,
	OPT_EXPORT,
	OPT_EXPORTS_DIR,
	OPT_AIO,
	OPT_LOG_FORMAT,
	OPT_CLIENT_RATE,
	OPT_CLIENT_REQUESTS,
	OPT_DETECT_ZEROES,
	OPT_SELINUX_LABEL,
	OPT_BACKING,
};

static const char short_options[] = "hVb:p:k:e:f:tl:x:D:rno:vsc:dAB:LT:";

static const struct option long_options[] = {
    {"help", no_argument, NULL, 'h'},
    {"version", no_argument, NULL, 'V'},
    {"bind", required_argument, NULL, 'b'},
    {"port", required_argument, NULL, 'p'},
    {"socket", required_argument, NULL, 'k'},
    {"shared", required_argument, NULL, 'e'},
    {"format", required_argument, NULL, 'f'},
    {"persistent", no_argument, NULL, 't'},
    {"load-snapshot", required_argument, NULL, 'l'},
    {"export-name", required_argument, NULL, 'x'},
    {"description", required_argument, NULL, 'D'},
    {"allocation-depth", no_argument, NULL, 'A'},
    {"bitmap", required_argument, NULL, 'B'},
    {"read-only", no_argument, NULL, 'r'},
    {"nocache", no_argument, NULL, 'n'},
    {"cache", required_argument, NULL, OPT_CACHE},
    {"discard", required_argument, NULL, OPT_DISCARD},
    {"image-opts", no_argument, NULL, OPT_IMAGE_OPTS},
    {"offset", required_argument, NULL, 'o'},
    {"fork", no_argument, NULL, OPT_FORK},
    {"pid-file", required_argument, NULL, OPT_PID_FILE},
    {"metrics", required_argument, NULL, OPT_METRICS},
    {"listen", required_argument, NULL, OPT_LISTEN},
    {"client-rate", required_argument, NULL, OPT_CLIENT_RATE},
    {"client-requests", required_argument, NULL, OPT_CLIENT_REQUESTS},
    {"handshake-limit", required_argument, NULL, OPT_HANDSHAKE_LIMIT},
    {"run", required_argument, NULL, OPT_RUN},
    {"verbose", no_argument, NULL, 'v'},
    {"snapshot", no_argument, NULL, 's'},
    {"connect", required_argument, NULL, 'c'},
    {"disconnect", no_argument, NULL, 'd'},
    {"list", no_argument, NULL, 'L'},
    {"trace", required_argument, NULL, 'T'},
    {"aio", required_argument, NULL, OPT_AIO},
    {"detect-zeroes", required_argument, NULL, OPT_DETECT_ZEROES},
    {"object", required_argument, NULL, OPT_OBJECT},
    {"tls-creds", required_argument, NULL, OPT_TLS_CREDS},
    {"tls-authz", required_argument, NULL, OPT_TLS_AUTHZ},
    {"tls-optional", no_argument, NULL, OPT_TLS_OPTIONAL},
    {"export", required_argument, NULL, OPT_EXPORT},
    {"exports-dir", required_argument, NULL, OPT_EXPORTS_DIR},
    {"tls-hostname", required_argument, NULL, OPT_TLS_HOSTNAME},
    {"output", required_argument, NULL, OPT_OUTPUT},
    {"log-format", required_argument, NULL, OPT_LOG_FORMAT},
    {"backing", required_argument, NULL, OPT_BACKING},
    {"selinux-label", required_argument, NULL, OPT_SELINUX_LABEL},
    {NULL, 0, NULL, 0},
};

static int parse_text(const char *what, const char *text, const char **out)
{
	*out = text;
	if (strlen(text) <= NBD_STRING_MAX)
		return 0;
	log_error("%s '%s' too long", what, text);
	return -1;
}

static int parse_trace(const char *text)
{
	struct err e = ERR_INIT;

	if (!line_trace(text, &e))
		return 0;
	log_err(&e);
	return -1;
}

static int parse_image_option(struct line *l, int opt, const char *arg)
{
	struct args *a = l->a;

	switch (opt) {
	case 'f':
		a->image.open.format = arg;
		return 0;
	case OPT_IMAGE_OPTS:
		a->image.image_opts = true;
		return 0;
	case 'A':
		a->image.open.flags |= IMG_O_DEPTH;
		return 0;
	case 'B':
		a->image.bitmap[a->image.bitmap_n++] = arg;
		return 0;
	case 'o':
		return value_size("offset", arg, 0, &a->image.offset);
	case 'r':
		a->image.open.flags &= ~IMG_O_RDWR;
		return 0;
	case 'l':
		a->image.open.snapshot = arg;
		a->image.open.flags &= ~IMG_O_RDWR;
		return 0;
	case 'n':
		return value_cache(l, "none");
	case OPT_CACHE:
		return value_cache(l, arg);
	case OPT_DISCARD:
		return value_discard(l, arg);
	case 's':
		a->image.scratch = true;
		return 0;
	case OPT_AIO:
		return value_aio(l, arg);
	case OPT_BACKING:
		return value_backing(a, arg);
	case OPT_DETECT_ZEROES:
		return value_detect_zeroes(a, arg);
	default:
		return -1; /* getopt knows no others */
	}
}

/* Makes an object.  1: help was printed. */
static int parse_object(const char *text)
{
	struct err e = ERR_INIT;
	char *help = NULL;
	int rc = object_add(text, &help, &e);

	if (rc < 0)
		log_err(&e);
	if (rc > 0)
		fputs(help, stdout);
	free(help);
	return rc;
}

static int parse_output(struct args *a, const char *how)
{
	a->json = !strcmp(how, "json");
	if (a->json || !strcmp(how, "human"))
		return 0;
	log_error("--output must be used with human or json as argument.");
	return -1;
}

static int parse_tls_option(struct line *l, int opt, const char *arg)
{
	struct args *a = l->a;

	switch (opt) {
	case OPT_TLS_CREDS:
		a->tls_creds = arg;
		return 0;
	case OPT_TLS_AUTHZ:
		a->tls_authz = arg;
		return 0;
	case OPT_TLS_OPTIONAL:
		a->tls_optional = true;
		return 0;
	case OPT_TLS_HOSTNAME:
		a->tls_hostname = arg;
		return 0;
	case 'L':
		a->list = true;
		return 0;
	case OPT_OUTPUT:
		return parse_output(a, arg);
	case 'c':
		a->device = arg;
		return 0;
	case 'd':
		a->disconnect = true;
		return 0;
	case OPT_EXPORT:
		l->export[l->export_n++] = arg;
		return 0;
	case OPT_EXPORTS_DIR:
		a->exports_dir = arg;
		return 0;
	default:
		return parse_image_option(l, opt, arg);
	}
}

/* strchr() would take a long option for the character of its low byte. */
static bool is_one_of(const char *letters, int opt)
{
	return opt < OPT_CACHE && strchr(letters, opt);
}

static int parse_option(struct line *l, int opt, const char *arg)
{
	struct args *a = l->a;

	l->single |= is_one_of("xDolB", opt);
	l->device |= is_one_of("xDocdflBAn", opt) || opt == OPT_CACHE ||
		     opt == OPT_DISCARD || opt == OPT_AIO ||
		     opt == OPT_BACKING || opt == OPT_EXPORT ||
		     opt == OPT_EXPORTS_DIR;
	switch (opt) {
	case 'p':
		a->port = arg;
		return 0;
	case 'b':
		a->host = arg;
		return 0;
	case 'k':
		a->socket = arg;
		return 0;
	case 'e':
		return value_unsigned("shared device number", arg, &a->shared);
	case 't':
		a->persistent = true;
		return 0;
	case 'x':
		return parse_text("export name", arg, &a->image.name);
	case 'D':
		return parse_text(
		    "export description", arg, &a->image.description);
	case OPT_METRICS:
		a->metrics = arg;
		return 0;
	case OPT_LISTEN:
		a->listen[a->listen_n++] = arg;
		return 0;
	case OPT_HANDSHAKE_LIMIT:
		return value_unsigned(
		    "handshake limit", arg, &a->handshake_limit);
	case OPT_CLIENT_RATE:
		return value_size(
		    "client rate", arg, CLIENT_RATE_MIN, &a->client_rate);
	case OPT_CLIENT_REQUESTS:
		return value_client_requests(a, arg);
	case OPT_FORK:
		a->fork = true;
		return 0;
	case OPT_PID_FILE:
		a->pid_file = arg;
		return 0;
	case OPT_RUN:
		a->run = arg;
		a->persistent = true;
		return 0;
	case 'v':
		a->verbose = true;
		return 0;
	case 'T':
		return parse_trace(arg);
	case OPT_LOG_FORMAT:
		return value_log_format(arg);
	case OPT_SELINUX_LABEL:
		a->selinux_label = arg;
		return 0;
	default:
		return parse_tls_option(l, opt, arg);
	}
}

static enum args_result check(struct line *l, int argc, char **argv)
{
	struct args *a = l->a;
	const char *wrong = line_contradiction(l, argc);
	bool several = l->export_n || a->exports_dir;
	struct err e = ERR_INIT;

	if (wrong) {
		log_error("%s", wrong);
		return ARGS_EXIT_FAILURE;
	}
	if (a->list)
		return ARGS_RUN;
	if (several && line_exports(l, &e)) {
		log_err(&e);
		return ARGS_EXIT_FAILURE;
	}
	if (argc != !several) {
		log_error("Invalid number of arguments");
		fprintf(stderr, "Try `%s --help' for more information.\n",
		    log_program());
		return ARGS_EXIT_FAILURE;
	}
	a->image.file = several ? NULL : argv[0];
	if (a->device && !a->run) {
		/* It is there for the device, and may be left alone. */
		a->persistent = false;
		a->fork |= !a->verbose;
	}
	return ARGS_RUN;
}

enum args_result args_parse(struct args *a, int argc, char **argv)
{
	CLEANUP_FREE const char **export = calloc((size_t)argc, sizeof *export);
	struct line l = {.a = a, .export = export};
	int opt, rc;

	*a = (struct args){
	    .image.open.flags = IMG_O_RDWR,
	    .shared = 1,
	    .handshake_limit = 10,
	    .image.name = "",
	    .image.description = "",
	    .image.bitmap = calloc((size_t)argc, sizeof(char *)),
	    .listen = calloc((size_t)argc, sizeof(char *)),
	};
	if (!a->image.bitmap || !a->listen || !export) {
		log_error("out of memory");
		return ARGS_EXIT_FAILURE;
	}
	/* getopt prints argv[0] in front of what it has to say */
	argv[0] = (char *)log_program();
	while ((opt = getopt_long(
		    argc, argv, short_options, long_options, NULL)) >= 0) {
		switch (opt) {
		case 'h':
			usage_print_help();
			return ARGS_EXIT_OK;
		case 'V':
			usage_print_version();
			return ARGS_EXIT_OK;
		case '?':
			log_error("Try `%s --help' for more information.",
			    log_program());
			return ARGS_EXIT_FAILURE;
		case OPT_OBJECT:
			rc = parse_object(optarg);
			if (rc > 0)
				return ARGS_EXIT_OK;
			break;
		default:
			rc = parse_option(&l, opt, optarg);
		}
		if (rc)
			return ARGS_EXIT_FAILURE;
	}
	return check(&l, argc - optind, argv + optind);
}

void args_clear(struct args *a)
{
	export_list_clear(&a->exports);
	free(a->image.bitmap);
	free(a->listen);
}
