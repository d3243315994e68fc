/* SPDX-License-Identifier: BSD-3-Clause */
/* The help texts, made from the tables of the commands. */
#ifndef CTL_HELP_H
#define CTL_HELP_H

#include <stdio.h>

#include "command.h"

void help_version(FILE *f);
/* All commands in one text. */
void help_all(FILE *f);
/* One command; all of them where the tool whose place is taken does so. */
void help_command(FILE *f, const struct command *cmd);

#endif
