/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The command line: see args.h.
 *
 * One table of getopt's options, one switch.  Options of qemu-nbd that are not
 * there are refused by name.
 */
#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "args.h"
#include "config.h"
#include "log.h"
#include "nbd.h"

/* Whose options and messages these are; scripts ask for it. */
#define QEMU_NBD_VERSION "10.0.0"

enum {
	OPT_CACHE = 256,
	OPT_DISCARD,
	OPT_IMAGE_OPTS,
	OPT_FORK,
	OPT_PID_FILE,
	OPT_HANDSHAKE_LIMIT,
	OPT_RUN,
	OPT_UNSUPPORTED,
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
    {"handshake-limit", required_argument, NULL, OPT_HANDSHAKE_LIMIT},
    {"run", required_argument, NULL, OPT_RUN},
    {"verbose", no_argument, NULL, 'v'},
    {"snapshot", no_argument, NULL, 's'},
    {"connect", required_argument, NULL, 'c'},
    {"disconnect", no_argument, NULL, 'd'},
    {"list", no_argument, NULL, 'L'},
    {"trace", required_argument, NULL, 'T'},
    {"aio", required_argument, NULL, OPT_UNSUPPORTED},
    {"detect-zeroes", required_argument, NULL, OPT_UNSUPPORTED},
    {"object", required_argument, NULL, OPT_UNSUPPORTED},
    {"tls-creds", required_argument, NULL, OPT_UNSUPPORTED},
    {"tls-authz", required_argument, NULL, OPT_UNSUPPORTED},
    {"tls-hostname", required_argument, NULL, OPT_UNSUPPORTED},
    {"selinux-label", required_argument, NULL, OPT_UNSUPPORTED},
    {NULL, 0, NULL, 0},
};

static const char help_text[] =
    "Usage: %s [OPTIONS] FILE\n"
    "Serve a disk image over NBD\n"
    "\n"
    "  -h, --help                this text\n"
    "  -V, --version             the version\n"
    "\n"
    "Connections:\n"
    "  -p, --port=PORT           TCP port (default 10809)\n"
    "  -b, --bind=HOST           address to listen on (default 0.0.0.0)\n"
    "  -k, --socket=PATH         listen on a Unix socket instead\n"
    "  -e, --shared=N            clients at a time (default 1, 0: no limit)\n"
    "  -t, --persistent          do not exit when the last client leaves\n"
    "  -x, --export-name=NAME    name of the export (default empty)\n"
    "  -D, --description=TEXT    description of the export\n"
    "      --handshake-limit=N   seconds for negotiation (default 10, 0: no "
    "limit)\n"
    "\n"
    "The image:\n"
    "  -f, --format=FORMAT       its format (default: find out)\n"
    "      --image-opts          FILE is a list of options\n"
    "  -o, --offset=N            leave out the first N bytes\n"
    "  -r, --read-only           do not write\n"
    "  -l, --load-snapshot=S     an internal snapshot, read-only: its ID or "
    "name,\n"
    "                            or snapshot.id=ID,snapshot.name=NAME\n"
    "  -n, --nocache             the same as --cache=none\n"
    "      --cache=MODE          writeback (default), none, writethrough,\n"
    "                            directsync, unsafe\n"
    "      --discard=MODE        what a trim does: ignore (default), unmap\n"
    "  -A, --allocation-depth    let clients see which layer has the data\n"
    "  -B, --bitmap=NAME         let clients see this dirty bitmap; may be "
    "repeated\n"
    "\n"
    "The process:\n"
    "      --fork                return when the server is ready\n"
    "      --pid-file=PATH       write the process ID there when ready\n"
    "      --run=COMMAND         run it while serving, with $uri set, then "
    "exit\n"
    "  -v, --verbose             report what clients do wrong\n";

static void print_version(void)
{
	if (!strcmp(log_program(), "qemu-nbd"))
		printf(
		    "qemu-nbd %s (imgd %s)\n", QEMU_NBD_VERSION, IMGD_VERSION);
	else
		printf("%s %s\n", log_program(), IMGD_VERSION);
}

/* While the line is read. */
struct line {
	struct args *a;
	bool cache, discard; /* seen: they may come once */
};

static int parse_number(
    const char *what, const char *text, uint64_t max, uint64_t *out)
{
	char *end;

	errno = 0;
	*out = strtoull(text, &end, 0);
	if (*text && !*end && !errno && !strchr(text, '-') && *out <= max)
		return 0;
	log_error("Invalid %s '%s'", what, text);
	return -1;
}

static int parse_unsigned(const char *what, const char *text, unsigned *out)
{
	uint64_t v;

	if (parse_number(what, text, INT_MAX, &v))
		return -1;
	*out = (unsigned)v;
	return 0;
}

static int parse_text(const char *what, const char *text, const char **out)
{
	*out = text;
	if (strlen(text) <= NBD_STRING_MAX)
		return 0;
	log_error("%s '%s' too long", what, text);
	return -1;
}

static int parse_cache(struct line *l, const char *mode)
{
	if (l->cache) {
		log_error("-n and --cache can only be specified once");
		return -1;
	}
	l->cache = true;
	if (img_cache_parse(mode, &l->a->export.open.cache))
		return 0;
	log_error("Invalid cache mode `%s'", mode);
	return -1;
}

static int parse_discard(struct line *l, const char *mode)
{
	if (l->discard) {
		log_error("--discard can only be specified once");
		return -1;
	}
	l->discard = true;
	if (!strcmp(mode, "unmap") || !strcmp(mode, "on")) {
		l->a->export.open.flags |= IMG_O_DISCARD;
		return 0;
	}
	if (!strcmp(mode, "ignore") || !strcmp(mode, "off"))
		return 0;
	log_error("Invalid discard mode `%s'", mode);
	return -1;
}

static int parse_image_option(struct line *l, int opt, const char *arg)
{
	struct args *a = l->a;

	switch (opt) {
	case 'f':
		a->export.open.format = arg;
		return 0;
	case OPT_IMAGE_OPTS:
		a->export.image_opts = true;
		return 0;
	case 'A':
		a->export.depth = true;
		return 0;
	case 'B':
		a->export.bitmap[a->export.bitmap_n++] = arg;
		return 0;
	case 'o':
		return parse_number(
		    "offset", arg, INT64_MAX, &a->export.offset);
	case 'r':
		a->export.open.flags &= ~IMG_O_RDWR;
		return 0;
	case 'l':
		a->export.open.snapshot = arg;
		a->export.open.flags &= ~IMG_O_RDWR;
		return 0;
	case 'n':
		return parse_cache(l, "none");
	case OPT_CACHE:
		return parse_cache(l, arg);
	case OPT_DISCARD:
		return parse_discard(l, arg);
	default:
		return 1;
	}
}

static int parse_option(struct line *l, int opt, const char *arg)
{
	struct args *a = l->a;

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
		return parse_unsigned("shared device number", arg, &a->shared);
	case 't':
		a->persistent = true;
		return 0;
	case 'x':
		return parse_text("export name", arg, &a->export.name);
	case 'D':
		return parse_text(
		    "export description", arg, &a->export.description);
	case OPT_HANDSHAKE_LIMIT:
		return parse_unsigned(
		    "handshake limit", arg, &a->handshake_limit);
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
	default:
		return parse_image_option(l, opt, arg);
	}
}

static const char *option_name(int opt, int index)
{
	for (unsigned i = 0; index < 0 && long_options[i].name; i++)
		if (long_options[i].val == opt)
			index = (int)i;
	return index < 0 ? "?" : long_options[index].name;
}

/* What is wrong with the whole, or NULL. */
static const char *contradiction(const struct args *a)
{
	if (a->socket && (a->host || a->port))
		return "-k cannot be used with -p or -b";
	if (a->socket && a->socket[0] != '/')
		return "socket path must be absolute";
	if (a->export.image_opts && a->export.open.format)
		return "--image-opts and -f are mutually exclusive";
	if (a->run && a->fork)
		return "--run and --fork are mutually exclusive";
	return NULL;
}

static enum args_result check(struct args *a, int argc, char **argv)
{
	const char *wrong = contradiction(a);

	if (wrong) {
		log_error("%s", wrong);
		return ARGS_EXIT_FAILURE;
	}
	if (argc != 1) {
		log_error("Invalid number of arguments");
		fprintf(stderr, "Try `%s --help' for more information.\n",
		    log_program());
		return ARGS_EXIT_FAILURE;
	}
	a->export.file = argv[0];
	return ARGS_RUN;
}

enum args_result args_parse(struct args *a, int argc, char **argv)
{
	struct line l = {.a = a};
	int opt, index, rc;

	*a = (struct args){
	    .export.open.flags = IMG_O_RDWR,
	    .shared = 1,
	    .handshake_limit = 10,
	    .export.name = "",
	    .export.description = "",
	    .export.bitmap = calloc((size_t)argc, sizeof(char *)),
	};
	if (!a->export.bitmap) {
		log_error("out of memory");
		return ARGS_EXIT_FAILURE;
	}
	/* getopt prints argv[0] in front of what it has to say */
	argv[0] = (char *)log_program();
	while (index = -1, (opt = getopt_long(argc, argv, short_options,
				long_options, &index)) >= 0) {
		switch (opt) {
		case 'h':
			printf(help_text, log_program());
			return ARGS_EXIT_OK;
		case 'V':
			print_version();
			return ARGS_EXIT_OK;
		case '?':
			log_error("Try `%s --help' for more information.",
			    log_program());
			return ARGS_EXIT_FAILURE;
		default:
			rc = parse_option(&l, opt, optarg);
		}
		if (rc > 0)
			log_error("option '--%s' is not supported",
			    option_name(opt, index));
		if (rc)
			return ARGS_EXIT_FAILURE;
	}
	return check(a, argc - optind, argv + optind);
}

void args_clear(struct args *a)
{
	free(a->export.bitmap);
}
