/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A folder that can lose power: for images of several files.
 *
 * The files are real ones.  What the program under test does to them and to
 * their names is seen at its system calls, which the linker leads here (see
 * meson.build), and is done to a struct crashfile for each as well.
 *
 * What the model allows: all that crashfile.h does, for each file on its own;
 * changes of names, too, reach the disk in any combination.  A sync of a file
 * makes no name durable, one of the folder no contents.
 *
 * One folder at a time.  Threads: the system calls of any thread.
 */
#ifndef TEST_CRASHDIR_H
#define TEST_CRASHDIR_H

#include <stdint.h>

#include "crash.h"
#include "formats/host/hostfile.h"

/* The files that are there now are durable.  Each sync of one, or of the
 * folder, is watched. */
void crashdir_begin(const char *path, const struct crash_watch *w);
/* Fails the test if what was seen is not what is there now. */
void crashdir_end(void);
/* The folder `to`, made anew, holds what a power failure could leave now; seeds
 * as for crashfile_image(). */
void crashdir_image(const char *to, uint64_t seed);

/* ---- for crashcalls.c: what the program did ------------------------------ */

/* The double of an open file of the folder; NULL: it is none. */
struct hostfile *crashdir_file(int fd);
/* A file was opened, which may be new; -1: it was not. */
void crashdir_opened(int fd, const char *path);
void crashdir_renamed(const char *from, const char *to);
void crashdir_removed(const char *path);
/* A file, or the folder, is to be durable. */
void crashdir_sync(int fd);

#endif
