/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What is served: a part of an image under a name.  Constant while clients
 * are served.
 */
#ifndef IMGD_EXPORT_H
#define IMGD_EXPORT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct image;

struct export
{
	const char *name, *description; /* "" when there is none */
	struct image *img;
	uint64_t start, size; /* the guest bytes of img that are exported */
	bool multi_conn;      /* a client may use several connections     */
};

struct exports {
	const struct export *item;
	size_t n;
};

/* NULL when there is none of that name. */
const struct export *export_find(
    const struct exports *x, const void *name, size_t len);
bool export_writable(const struct export *x);
/* The transmission flags. */
uint16_t export_flags(const struct export *x, bool structured);

#endif
