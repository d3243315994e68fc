/* SPDX-License-Identifier: BSD-3-Clause */
/* Names in UTF-16, little-endian, as formats of Windows have them. */
#ifndef IMGD_UTF16_H
#define IMGD_UTF16_H

#include <stddef.h>
#include <stdint.h>

/* `len` bytes as UTF-8, malloc'd; NULL: not valid, or no memory. */
char *utf16_to_utf8(const uint8_t *utf16, size_t len);
/* The bytes written to out[0, max), which have no end mark; -1: `text` is not
 * valid, or too long. */
int utf8_to_utf16(uint8_t *out, size_t max, const char *text);

#endif
