/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Messages on stderr, each with the name of the program; or each a JSON object
 * in a line.  Control characters of names are shown (err_show).  Any thread.
 */
#ifndef IMGD_LOG_H
#define IMGD_LOG_H

#include <stdbool.h>

#include "core/err.h"

/* `program` is kept.  Before there is a second thread. */
void log_init(const char *program);
void log_verbose(bool on);
/* Instead of text. */
void log_json(bool on);
const char *log_program(void);

/* What this thread serves, for JSON; the name is kept. */
void log_client(unsigned n);
void log_export(const char *name);

void log_error(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* What was asked for. */
void log_info(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* Perhaps of several lines, as it is; without the name. */
void log_warning(const char *text);
/* The message, and the hint without the name. */
void log_err(const struct err *e);
/* Only when verbose: a client must not be able to fill a log. */
void log_debug(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

#endif
