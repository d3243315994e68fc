/* SPDX-License-Identifier: BSD-3-Clause */
/* Bytes written as text: RFC 4648, section 4. */
#ifndef IMGD_BASE64_H
#define IMGD_BASE64_H

#include <stddef.h>
#include <stdint.h>

#include "err.h"

/* In place.  White space between digits does not count. */
int base64_decode(uint8_t *buf, size_t *len, struct err *e);
/* Characters of `len` bytes, and a NUL. */
#define BASE64_SIZE(len) (((len) + 2) / 3 * 4 + 1)
void base64_encode(const uint8_t *buf, size_t len, char *out);

#endif
