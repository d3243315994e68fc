/* SPDX-License-Identifier: BSD-3-Clause */
/* A small file as a whole. */
#ifndef IMGD_TEXTFILE_H
#define IMGD_TEXTFILE_H

#include <stddef.h>
#include <stdint.h>

#include "err.h"

#define TEXTFILE_LEN_MAX (1u << 20)

/* malloc'd, and a NUL follows its bytes.  `dir`: where relative paths begin, or
 * AT_FDCWD.  NULL with *e set, also where it is longer than TEXTFILE_LEN_MAX.
 */
uint8_t *textfile_read(int dir, const char *path, size_t *len, struct err *e);

#endif
