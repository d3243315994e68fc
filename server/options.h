/* SPDX-License-Identifier: BSD-3-Clause */
/* The options of the negotiation: one function for each. */
#ifndef IMGD_NBD_OPTIONS_H
#define IMGD_NBD_OPTIONS_H

#include <stddef.h>
#include <stdint.h>

#include "cursor.h"

struct export;
struct handshake;

enum option_next {
	OPTION_MORE,  /* another option follows         */
	OPTION_START, /* an export is chosen            */
	OPTION_CLOSE, /* the connection ends            */
};

/* Answers an option. */
enum option_next option_run(
    struct handshake *h, uint32_t opt, const uint8_t *data, size_t len);
/* Answers an option whose data is too long to be looked at. */
enum option_next option_too_big(struct handshake *h, uint32_t opt);

/* ---- for the files that hold options ---- */

enum option_next option_ack(struct handshake *h, uint32_t opt);
enum option_next option_refuse(
    struct handshake *h, uint32_t opt, uint32_t error, const char *why);
enum option_next option_malformed(struct handshake *h, uint32_t opt);
/* NULL when the client has no export of that name.  Then export_release(). */
const struct export *option_export(
    const struct handshake *h, const void *name, size_t len);
enum option_next option_unknown_export(struct handshake *h, uint32_t opt);

/* LIST_META_CONTEXT and SET_META_CONTEXT: metactx.c. */
enum option_next option_meta_context(
    struct handshake *h, uint32_t opt, struct cursor c);

#endif
