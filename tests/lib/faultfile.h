/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A host file over another one, that fails a chosen call, counts calls, and
 * shows them to a test.  A call that fails changes nothing.
 *
 * Typical use: for N = 1, 2, ...: faultfile_fail(h, FAULT_ALL, N, EIO, false),
 * run, until faultfile_hit() says that N was past the last call.
 *
 * Threads: all functions, any thread.
 */
#ifndef TEST_FAULTFILE_H
#define TEST_FAULTFILE_H

#include <stdbool.h>
#include <stdint.h>

#include "formats/host/hostfile.h"

/* Kinds of calls, as bits. */
#define FAULT_READ     0x01u
#define FAULT_WRITE    0x02u
#define FAULT_SYNC     0x04u
#define FAULT_TRUNCATE 0x08u
#define FAULT_MAP      0x10u
#define FAULT_PUNCH    0x20u
#define FAULT_ZERO     0x40u
#define FAULT_ALLOCATE 0x80u
#define FAULT_ALL      0xffu
/* Those that change the file. */
#define FAULT_CHANGES (FAULT_ALL & ~(FAULT_READ | FAULT_MAP))

/*
 * Takes over the caller's reference to `under`, also on failure.  NULL on
 * failure.
 */
struct hostfile *faultfile_new(struct hostfile *under, struct err *e);
/*
 * `f` is from faultfile_new().  The nth call of `kinds` from now on, 1 being
 * the next one, fails with `errnum`; with `stays`, all after it fail as well.
 * nth = 0: no call fails.
 */
void faultfile_fail(
    struct hostfile *f, unsigned kinds, uint64_t nth, int errnum, bool stays);
/*
 * `fn` is called before each call, in its thread and without locks: it may
 * wait.  NULL: nothing is.  Set it while no call is running.
 */
typedef void faultfile_hook(
    void *arg, unsigned kind, uint64_t off, uint64_t len);
void faultfile_on_call(struct hostfile *f, faultfile_hook *fn, void *arg);
/* Has a call failed since the last faultfile_fail()? */
bool faultfile_hit(struct hostfile *f);
/* Calls of these kinds since faultfile_new(). */
uint64_t faultfile_calls(struct hostfile *f, unsigned kinds);

#endif
