/* SPDX-License-Identifier: BSD-3-Clause */
/* Has a thread of this program come to where it has to wait? */
#ifndef TEST_ASLEEP_H
#define TEST_ASLEEP_H

#include <stdatomic.h>
#include <sys/types.h>

/*
 * Returns when the thread sleeps and goes on sleeping, or has ended; `tid` is
 * what the thread itself stores there, with gettid(), when it begins.  Fails
 * the test when it comes to no rest.
 */
void asleep_wait(const _Atomic pid_t *tid);

#endif
