/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What an overlay stands on, made by qemu-img, which also says what is in it:
 * so that our reading is checked against another program's writing.
 */
#ifndef TEST_BASE_H
#define TEST_BASE_H

#include "geometry.h"

/*
 * Make the files.  *name and *format (literals) are for create; `bytes` gets
 * what is below a disk of `size` bytes; BASE_NONE gives source.raw too.  What
 * fails fails the test.
 */
void base_make(enum base base, uint64_t size, uint64_t seed, uint8_t *bytes,
    const char **name, const char **format);
/* Remove the files. */
void base_remove(void);

#endif
