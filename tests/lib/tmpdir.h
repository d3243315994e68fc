/* SPDX-License-Identifier: BSD-3-Clause */
/* A directory for the files of one test program. */
#ifndef TEST_TMPDIR_H
#define TEST_TMPDIR_H

/*
 * Make a directory ($TMPDIR, else in /var/tmp, which is a disk) and change to
 * it; it is removed when the program exits.  Ends the program on failure.
 */
void tmpdir_enter(void);

#endif
