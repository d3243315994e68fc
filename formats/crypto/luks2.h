/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * LUKS2: a binary header of 4096 bytes and a JSON area, twice, then the area
 * of the key slots.
 */
#ifndef IMGD_LUKS2_H
#define IMGD_LUKS2_H

#include "luks.h"

struct luks2;

/* The header at its start is of version 2. */
int luks2_read(struct luks *l, struct err *e);
/* It begins as no header: perhaps the second copy is there. */
int luks2_read_second(struct luks *l, struct err *e);
void luks2_free(struct luks2 *v); /* NULL is allowed */
json_t *luks2_describe(const struct luks *l, bool detached, const char *format);

#endif
