/* SPDX-License-Identifier: BSD-3-Clause */
/* Other programs that tests run as peers. */
#ifndef TEST_PEER_H
#define TEST_PEER_H

#include <stdbool.h>
#include <stddef.h>

/* Is there a program of that name? */
bool peer_have(const char *program);
/* Where there is none, say so and end, as a test that is skipped. */
void peer_needs(const char *program);
/*
 * Run a program and wait; `argv` ends with NULL.  The start of what it prints,
 * stdout and stderr together, goes to out[0, out_len), ended with a NUL.
 * Returns its exit code, or -1 when it could not run or was killed.
 */
int peer_run(const char *const *argv, char *out, size_t out_len);
/*
 * What qemu-img check says of a qcow2 file, as its exit code: 0 clean, 3 leaks
 * only, others bad.
 */
int peer_check(const char *path, char *out, size_t out_len);
/* The same of any format; 0 where it cannot check it. */
int peer_check_as(
    const char *path, const char *format, char *out, size_t out_len);
/* The same after a crash or a failure: 0 where there are leaks at worst, as far
 * as it can tell. */
int peer_check_leaky(
    const char *path, const char *format, char *out, size_t out_len);
/* The same of another format that it can repair, after it has done that. */
int peer_repair(
    const char *path, const char *format, char *out, size_t out_len);

#endif
