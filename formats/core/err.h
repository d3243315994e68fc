/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The error object: what went wrong, in words for a user.
 *
 * Every function that can fail takes a `struct err *` last.  It lives on the
 * caller's stack, starts as ERR_INIT, and is never NULL.  The first error set
 * wins: later err_set() calls on the same object change nothing, so clean-up
 * code may fail without hiding the cause.  Callers on the way up add what they
 * know with err_prefix().  Nothing in the core prints or exits.
 *
 * Texts may hold names from images: control characters in them become "\x1b"
 * and the like, so that no image can talk to a terminal or add lines to a log.
 *
 * Not thread-safe: one object belongs to one thread at a time.
 */
#ifndef IMGD_ERR_H
#define IMGD_ERR_H

#include <stdbool.h>
#include <stdarg.h>
#include <stddef.h>

enum err_kind {
	ERR_NONE = 0,
	ERR_SYSTEM,	 /* the system refused: see errnum                    */
	ERR_NOT_FORMAT,	 /* the file is not of the format asked for           */
	ERR_UNSUPPORTED, /* recognised, but uses a feature that we do not do  */
	ERR_DAMAGED,	 /* contradicts itself or the specification           */
	ERR_USAGE,	 /* the caller asked for something that cannot be     */
};

struct err {
	enum err_kind kind;
	int errnum;	 /* errno value that describes it best, never 0       */
	char msg[2048];	 /* one line, no newline at the end                   */
	char hint[1024]; /* advice, "" when there is none; may have newlines  */
};

/* clang-format off */
#define ERR_INIT { .kind = ERR_NONE }
/* clang-format on */

/* Each sets the error unless one is set already, and returns -1. */
int err_set(struct err *e, enum err_kind kind, int errnum, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
/* ERR_SYSTEM; appends ": " and the text of errnum. */
int err_sys(struct err *e, int errnum, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
int err_damaged(struct err *e, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
int err_unsupported(struct err *e, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
int err_usage(struct err *e, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
int err_nomem(struct err *e);

/*
 * Put text before the message, whose end stays where there is no room for all:
 * it says why.  No effect on an object without an error.
 */
void err_prefix(struct err *e, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
/* Set the advice; the first one wins. */
void err_hint(struct err *e, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

/*
 * What control characters a text has come from names in images or on command
 * lines: they are shown, as "\x1b", except those in `keep`.  Cut where the room
 * ends, which is more than 0 bytes.  All that is said without a `struct err`
 * goes through it.
 */
void err_show(char *out, size_t room, const char *text, const char *keep);

static inline bool err_is_set(const struct err *e)
{
	return e->kind != ERR_NONE;
}
/* Forget the error, so that the object can be used again. */
void err_clear(struct err *e);

#endif
