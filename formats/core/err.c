/* SPDX-License-Identifier: BSD-3-Clause */
/* The error object: see err.h. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "err.h"

static void set_text(
    struct err *e, enum err_kind kind, int errnum, const char *fmt, va_list ap)
{
	e->kind = kind;
	e->errnum = errnum ? errnum : EINVAL;
	vsnprintf(e->msg, sizeof e->msg, fmt, ap);
	e->hint[0] = 0;
}

#define SET(e, kind, errnum, fmt)                                              \
	do {                                                                   \
		va_list ap;                                                    \
		if (err_is_set(e))                                             \
			return -1;                                             \
		va_start(ap, fmt);                                             \
		set_text(e, kind, errnum, fmt, ap);                            \
		va_end(ap);                                                    \
	} while (0)

int err_set(struct err *e, enum err_kind kind, int errnum, const char *fmt, ...)
{
	SET(e, kind, errnum, fmt);
	return -1;
}

int err_sys(struct err *e, int errnum, const char *fmt, ...)
{
	size_t n;

	SET(e, ERR_SYSTEM, errnum, fmt);
	n = strlen(e->msg);
	snprintf(e->msg + n, sizeof e->msg - n, ": %s", strerror(e->errnum));
	return -1;
}

int err_damaged(struct err *e, const char *fmt, ...)
{
	SET(e, ERR_DAMAGED, EINVAL, fmt);
	return -1;
}

int err_unsupported(struct err *e, const char *fmt, ...)
{
	SET(e, ERR_UNSUPPORTED, ENOTSUP, fmt);
	return -1;
}

int err_usage(struct err *e, const char *fmt, ...)
{
	SET(e, ERR_USAGE, EINVAL, fmt);
	return -1;
}

int err_nomem(struct err *e)
{
	return err_sys(e, ENOMEM, "out of memory");
}

void err_prefix(struct err *e, const char *fmt, ...)
{
	char old[sizeof e->msg];
	va_list ap;
	size_t n;

	if (!err_is_set(e))
		return;
	memcpy(old, e->msg, sizeof old);
	va_start(ap, fmt);
	vsnprintf(e->msg, sizeof e->msg, fmt, ap);
	va_end(ap);
	n = strlen(e->msg);
	snprintf(e->msg + n, sizeof e->msg - n, "%s", old);
}

void err_hint(struct err *e, const char *fmt, ...)
{
	va_list ap;

	if (!err_is_set(e) || e->hint[0])
		return;
	va_start(ap, fmt);
	vsnprintf(e->hint, sizeof e->hint, fmt, ap);
	va_end(ap);
}

void err_clear(struct err *e)
{
	e->kind = ERR_NONE;
	e->errnum = 0;
	e->msg[0] = e->hint[0] = 0;
}
