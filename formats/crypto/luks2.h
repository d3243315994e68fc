/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * LUKS2: a binary header of 4096 bytes and a JSON area, twice, then the area
 * of the key slots.  It is read only: key slots are not changed.
 */
#ifndef IMGD_LUKS2_H
#define IMGD_LUKS2_H

#include "luks.h"

#define LUKS2_BIN_LEN	 4096u
#define LUKS2_HEADER_MIN 0x4000u /* with the JSON area */
#define LUKS2_HEADER_MAX 0x400000u

/* luks2.c */
/* The header at its start is of version 2. */
int luks2_read(struct luks *l, struct err *e);
/* It begins as no header: perhaps the second copy is there. */
int luks2_read_second(struct luks *l, struct err *e);
json_t *luks2_describe(const struct luks *l, bool detached, const char *format);

/* luks2_json.c */
/* What the metadata says goes to *l; `header_len`: of both copies together. */
int luks2_metadata(
    struct luks *l, const json_t *root, uint64_t header_len, struct err *e);

#endif
