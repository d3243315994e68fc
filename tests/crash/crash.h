/* SPDX-License-Identifier: BSD-3-Clause */
/* What the crash tests share.  What fails here fails the test. */
#ifndef TEST_CRASH_H
#define TEST_CRASH_H

#include <stdbool.h>

#include "crashfile.h"

/* Make an image, durably.  `backing`: NULL, or a qcow2 image to name. */
void crash_create(struct crashfile *c, const char *format, uint64_t size,
    const char *options, const char *backing);
/* What a check calls corruption where an image was only not closed. */
unsigned crash_unclosed_n(const char *format);
/* Our check finds leaks at worst in an image that a crash left. */
void crash_check(struct hostfile *f, const char *format);

#endif
