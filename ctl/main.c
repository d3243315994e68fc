/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * imgctl: the offline tool for disk images.
 *
 *	imgctl [standard options] COMMAND [options] operands
 *
 * Called by the name of the tool whose place it takes (qemu-img), it answers
 * by that name.  A new command: see docs/adding-a-command.md.
 */
#include <fcntl.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "command.h"
#include "formats/core/object.h"
#include "help.h"
#include "msg.h"
#include "object.h"
#include "opts.h"
#include "out.h"
#include "signals.h"

const struct command *const commands[] = {
    &cmd_amend,
    &cmd_check,
    &cmd_commit,
    &cmd_compare,
    &cmd_convert,
    &cmd_bench,
    &cmd_bitmap,
    &cmd_create,
    &cmd_dd,
    &cmd_info,
    &cmd_map,
    &cmd_measure,
    &cmd_rebase,
    &cmd_resize,
    &cmd_snapshot,
    NULL,
};

/*
 * Descriptors 0 to 2 are open, so that no image is ever opened as one of them
 * and gets what is printed.  Those opened here refuse what they are for.
 */
static void open_standard_files(void)
{
	for (int fd = 0; fd <= STDERR_FILENO; fd++)
		if (fcntl(fd, F_GETFD) < 0 &&
		    open("/dev/null", fd ? O_RDONLY : O_WRONLY) != fd)
			abort();
}

/* Only the name matters, not where it is installed. */
static void take_name(const char *argv0)
{
	const char *slash = strrchr(argv0, '/');

	if (!strcmp(slash ? slash + 1 : argv0, "qemu-img"))
		msg_tool = "qemu-img";
}

/* There are no trace events: what names one by a pattern is accepted. */
static void look_at_trace(const char *text)
{
	struct err e = ERR_INIT;
	CLEANUP(options) struct options *o = options_new(&e);
	const char *event;

	if (!o || options_parse(o, text, "enable", &e))
		return;
	event = options_get(o, "enable");
	if (event && strcmp(event, "help") && !strpbrk(event, "*?"))
		msg_warning("trace event '%s' does not exist", event);
}

static int run_parsed(const struct command *cmd, void *args)
{
	const struct common *c = args;

	switch (object_make(c->objects)) {
	case OBJECT_OK:
		return cmd->run(args);
	case OBJECT_HELP:
		return EXIT_SUCCESS;
	case OBJECT_WRONG:
		return cmd->object_status ? cmd->object_status : EXIT_FAILURE;
	}
	return EXIT_FAILURE;
}

static int run_command(const struct command *cmd, int argc, char **argv)
{
	void *args = calloc(1, cmd->args_len);
	int status = EXIT_FAILURE;

	if (!args)
		return msg_error("out of memory");
	switch (opts_parse(cmd, argc, argv, args)) {
	case OPTS_RUN:
		status = run_parsed(cmd, args);
		break;
	case OPTS_HELP:
		help_command(stdout, cmd);
		status = out_flush();
		break;
	case OPTS_WRONG:
		break;
	}
	opts_clear(cmd, args);
	free(args);
	signals_end();
	return status;
}

static int find_and_run(int argc, char **argv)
{
	for (unsigned i = 0; commands[i]; i++)
		if (!strcmp(commands[i]->name, argv[0]))
			return run_command(commands[i], argc, argv);
	return msg_usage("Command not found: %s", argv[0]);
}

int main(int argc, char **argv)
{
	static const struct option names[] = {{"help", no_argument, NULL, 'h'},
	    {"version", no_argument, NULL, 'V'},
	    {"trace", required_argument, NULL, 'T'}, {0}};
	struct err e = ERR_INIT;
	int letter;

	open_standard_files();
	/* Write errors are reported where they happen. */
	signal(SIGPIPE, SIG_IGN);
	signal(SIGXFSZ, SIG_IGN);
	signal(SIGUSR1, SIG_IGN);
	signals_begin();
	take_name(argv[0]);
	if (object_hide(argc, argv, &e))
		return msg_err(&e);
	if (argc < 2)
		return msg_usage("Not enough arguments");
	opterr = 0;
	while (
	    (letter = getopt_long(argc, argv, "+:hVT:", names, NULL)) != -1) {
		switch (letter) {
		case 'h':
			help_all(stdout);
			return out_flush();
		case 'V':
			help_version(stdout);
			return out_flush();
		case 'T':
			look_at_trace(optarg);
			break;
		default:
			return msg_usage("%s '%s'",
			    letter == ':' ? "missing argument for option"
					  : "unrecognized option",
			    argv[optind - 1]);
		}
	}
	if (optind == argc)
		return EXIT_SUCCESS;
	return find_and_run(argc - optind, argv + optind);
}
