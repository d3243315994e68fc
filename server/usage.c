/* SPDX-License-Identifier: BSD-3-Clause */
/* What --help and --version print: see usage.h. */
#include <stdio.h>
#include <string.h>

#include "config.h"
#include "log.h"
#include "usage.h"

/* Whose options and messages these are; scripts ask for it. */
#define QEMU_NBD_VERSION "10.0.0"

static const char help_text[] =
    "Usage: %1$s [OPTIONS] FILE\n"
    "       %1$s [OPTIONS] --export=NAME=FILE...\n"
    "       %1$s -c DEVICE [OPTIONS] FILE\n"
    "       %1$s -d DEVICE\n"
    "Serve disk images over NBD\n"
    "\n"
    "  -h, --help                this text\n"
    "  -V, --version             the version\n"
    "\n"
    "Connections:\n"
    "  -p, --port=PORT           TCP port (default 10809)\n"
    "  -b, --bind=HOST           address to listen on (default 0.0.0.0)\n"
    "  -k, --socket=PATH         listen on a Unix socket instead\n"
    "      --listen=ADDRESS      listen there too, may be repeated: "
    "HOST:PORT,\n"
    "                            [IPV6]:PORT, unix:PATH\n"
    "  -e, --shared=N            clients at a time (default 1, 0: no limit)\n"
    "      --selinux-label=LABEL label of the sockets\n"
    "      --client-rate=SIZE    bytes a second for one connection (default: "
    "no "
    "limit)\n"
    "      --client-requests=N   in flight for one connection (default 256)\n"
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
    "      --backing=MODE        of an image that names other files: allow "
    "(default),\n"
    "                            deny: it is refused\n"
    "  -s, --snapshot            keep what is written in a temporary file "
    "only\n"
    "  -l, --load-snapshot=S     an internal snapshot, read-only: its ID or "
    "name,\n"
    "                            or snapshot.id=ID,snapshot.name=NAME\n"
    "  -n, --nocache             the same as --cache=none\n"
    "      --cache=MODE          writeback (default), none, writethrough,\n"
    "                            directsync, unsafe\n"
    "      --aio=MODE            threads (default), native, io_uring\n"
    "      --detect-zeroes=MODE  of a write that is all zeroes: off "
    "(default), on,\n"
    "                            unmap\n"
    "      --discard=MODE        what a trim does: ignore (default), unmap\n"
    "  -A, --allocation-depth    let clients see which layer has the data\n"
    "  -B, --bitmap=NAME         let clients see this dirty bitmap; may be "
    "repeated\n"
    "\n"
    "Several exports, instead of FILE:\n"
    "      --export=NAME=FILE[,KEY=VALUE...]\n"
    "                            may be repeated; keys: format, read-only,\n"
    "                            description, offset, snapshot, cache, "
    "discard,\n"
    "                            detect-zeroes, allocation-depth, bitmaps.N,\n"
    "                            backing, tls-authz\n"
    "      --exports-dir=DIR     every file in it, under its name, as it is "
    "when a\n"
    "                            client asks\n"
    "\n"
    "TLS:\n"
    "      --object=TYPE,id=ID,...\n"
    "                            credentials (tls-creds-x509, tls-creds-psk), "
    "who\n"
    "                            may (authz-simple, authz-list,\n"
    "                            authz-list-file), or a secret\n"
    "      --tls-creds=ID        clients must use TLS, with these credentials\n"
    "      --tls-authz=ID        who may connect\n"
    "      --tls-optional        clients may do without TLS\n"
    "\n"
    "A block device of the kernel:\n"
    "  -c, --connect=DEVICE      make FILE the contents of /dev/nbdN, in the "
    "background\n"
    "  -d, --disconnect          end that\n"
    "\n"
    "Instead of serving:\n"
    "  -L, --list                what the server at this address exports\n"
    "      --output=FORMAT       how: human (default), json\n"
    "      --tls-hostname=NAME   the name that its certificate must have\n"
    "\n"
    "The process:\n"
    "      --fork                return when the server is ready\n"
    "      --pid-file=PATH       write the process ID there when ready\n"
    "      --run=COMMAND         run it while serving, with $uri set, then "
    "exit\n"
    "      --metrics=ADDRESS     answer Prometheus there: HOST:PORT, "
    "unix:PATH\n"
    "      --log-format=FORMAT   of messages: text (default), json\n"
    "  -T, --trace=PATTERN       accepted: there are no trace events\n"
    "  -v, --verbose             report what clients do wrong\n";

void usage_print_help(void)
{
	printf(help_text, log_program());
}

void usage_print_version(void)
{
	if (!strcmp(log_program(), "qemu-nbd"))
		printf(
		    "qemu-nbd %s (imgd %s)\n", QEMU_NBD_VERSION, IMGD_VERSION);
	else
		printf("%s %s\n", log_program(), IMGD_VERSION);
}
