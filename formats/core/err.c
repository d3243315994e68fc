/* SPDX-License-Identifier: BSD-3-Clause */
/* The error object: see err.h. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "err.h"

/* One character that a terminal would obey; 0 bytes: it is not one. */
static size_t control_len(const char *p)
{
	unsigned char c = (unsigned char)p[0];

	if (c == 0xc2 && (p[1] & 0xe0) == 0x80)
		return 2;
	return c < 0x20 || c == 0x7f;
}

void err_show(char *out, size_t room, const char *text, const char *keep)
{
	size_t at = 0, n = 0;

	for (const char *p = text; *p; p++) {
		if (!n && !strchr(keep, *p))
			n = control_len(p);
		if (room - at <= (n ? 4 : 1))
			break;
		if (n)
			at += (size_t)sprintf(
			    out + at, "\\x%02x", (unsigned char)*p);
		else
			out[at++] = *p;
		n -= n > 0;
	}
	out[at] = 0;
}

static void put_text(
    char *out, size_t room, const char *keep, const char *fmt, va_list ap)
{
	char text[sizeof((struct err *)0)->msg];

	vsnprintf(text, sizeof text, fmt, ap);
	err_show(out, room, text, keep);
}

static void set_text(
    struct err *e, enum err_kind kind, int errnum, const char *fmt, va_list ap)
{
	e->kind = kind;
	e->errnum = errnum ? errnum : EINVAL;
	put_text(e->msg, sizeof e->msg, "", fmt, ap);
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
	static const char cut[] = "... ";
	char old[sizeof e->msg];
	const char *rest = old;
	size_t n, room;
	va_list ap;

	if (!err_is_set(e))
		return;
	memcpy(old, e->msg, sizeof old);
	va_start(ap, fmt);
	put_text(e->msg, sizeof e->msg, "", fmt, ap);
	va_end(ap);
	n = strlen(e->msg);
	room = sizeof e->msg - n;
	if (strlen(old) >= room && room > sizeof cut) {
		rest += strlen(old) + sizeof cut - room;
		while ((*rest & 0xc0) == 0x80) /* inside a character */
			rest++;
	}
	snprintf(e->msg + n, room, "%s%s", rest == old ? "" : cut, rest);
}

void err_hint(struct err *e, const char *fmt, ...)
{
	va_list ap;

	if (!err_is_set(e) || e->hint[0])
		return;
	va_start(ap, fmt);
	put_text(e->hint, sizeof e->hint, "\n", fmt, ap);
	va_end(ap);
}

void err_clear(struct err *e)
{
	e->kind = ERR_NONE;
	e->errnum = 0;
	e->msg[0] = e->hint[0] = 0;
}
