/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Allocations that fail: the linker leads those of this program here (see
 * meson.build).  Only those count that happen inside the public functions of
 * the core that a script calls, in the thread that armed it.
 */
#ifndef TEST_NOMEM_H
#define TEST_NOMEM_H

#include <stdbool.h>
#include <stdint.h>

/* The nth allocation from now on fails, 1 being the next; 0: none. */
void nomem_arm(uint64_t nth);
/* Has it failed? */
bool nomem_hit(void);

#endif
