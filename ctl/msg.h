/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What is said on stderr.  Every line begins with the name that the tool was
 * called by, except the lines of advice that follow one.  Control characters of
 * names are shown (err_show): what is said is one line of plain text.
 */
#ifndef CTL_MSG_H
#define CTL_MSG_H

#include "formats/image.h"

/* "imgctl", or the name of the tool whose place it takes. */
extern const char *msg_tool;

/* Each of these returns EXIT_FAILURE. */
int msg_error(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* Wrong use: says too how to get help. */
int msg_usage(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* An error of the core and its advice. */
int msg_err(const struct err *e);

/* As it is, with the lines that it has. */
void msg_line(const char *text);
void msg_warning(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

#endif
