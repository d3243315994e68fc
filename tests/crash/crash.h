/* SPDX-License-Identifier: BSD-3-Clause */
/* What the crash tests share.  What fails here fails the test. */
#ifndef TEST_CRASH_H
#define TEST_CRASH_H

#include <stdbool.h>

#include "crashfile.h"

struct image;

/* Make an image, durably.  `backing`: NULL, or an image to name, of the same
 * format. */
void crash_create(struct crashfile *c, const char *format, uint64_t size,
    const char *options, const char *backing);
/* Open the image that a file holds; `luks` with the secret CRASH_KEY. */
#define CRASH_KEY "crash"
struct image *crash_open(
    struct hostfile *f, const char *format, unsigned flags, struct err *e);
/* The same where it must succeed. */
struct image *crash_must_open(
    struct hostfile *f, const char *format, unsigned flags);

/*
 * Whom to show what power failures leave: at each sync of a watched file
 * look() is called with image_n seeds for crashfile_image(); the first two lose
 * all that is not durable, and nothing.
 */
struct crash_watch {
	unsigned image_n;
	void (*look)(void *arg, uint64_t seed);
	void *arg;
};
/* Show them now; another `moment` has other seeds. */
void crash_look(const struct crash_watch *w, unsigned moment);
/* Until crashfile_on_sync(c, NULL, NULL). */
void crash_watch(struct crashfile *c, struct crash_watch *w);

/* An image without data gets blocks of 4 KiB, where `create` cannot make it so:
 * dynamic VDI, VHD. */
void crash_small_blocks(struct hostfile *f, const char *format, uint64_t size);
/* What a check calls corruption where an image was only not closed. */
unsigned crash_unclosed_n(const char *format);
/* Our check finds leaks at worst in an image that a crash left. */
void crash_check(struct hostfile *f, const char *format);

#endif
