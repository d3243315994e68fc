/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The grammar of sizes that users type, shared by options and arguments.
 */
#ifndef IMGD_SIZE_H
#define IMGD_SIZE_H

#include <stdint.h>

/*
 * Decimal digits with an optional fraction and suffix, or 0x and hex digits:
 * 0 with *out in bytes; EINVAL not a size; EDOM a negative one; ERANGE 2^64
 * or more.
 */
int size_scan(const char *text, uint64_t *out);

#endif
