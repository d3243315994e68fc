/* SPDX-License-Identifier: BSD-3-Clause */
/* Memory for keys: not swapped where the system allows it, not in core dumps,
 * wiped when it is freed. */
#ifndef IMGD_KEYMEM_H
#define IMGD_KEYMEM_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "../core/err.h"

/* Zeroes; NULL on failure. */
uint8_t *keymem_new(size_t len, struct err *e);
void keymem_free(uint8_t *p, size_t len); /* NULL is allowed */

/* The same for an array of the caller's. */
static inline void keymem_wipe(void *p, size_t len)
{
	explicit_bzero(p, len);
}

#endif
