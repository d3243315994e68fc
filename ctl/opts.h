/* SPDX-License-Identifier: BSD-3-Clause */
/* The command line of one command, read by its table. */
#ifndef CTL_OPTS_H
#define CTL_OPTS_H

#include "command.h"

enum opts_result {
	OPTS_RUN,   /* go on: *args is filled                  */
	OPTS_HELP,  /* help was asked for                      */
	OPTS_WRONG, /* a message was printed                   */
};

/*
 * Read argv[1..]; argv[0] is the command's name.  Options and operands may be
 * mixed; `--` ends the options; long names may be cut short while they stay
 * unique.  `args`: zeroes, of cmd->args_len bytes.  It points into argv.
 */
enum opts_result opts_parse(
    const struct command *cmd, int argc, char **argv, void *args);
/* Release what the parser made, not `args` itself. */
void opts_clear(const struct command *cmd, void *args);

#endif
