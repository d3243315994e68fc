/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What is served: a part of an image under a name.  Constant while somebody
 * has it.
 */
#ifndef IMGD_EXPORT_H
#define IMGD_EXPORT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/cleanup.h"

#define EXPORT_BITMAPS_MAX 61u

/* What becomes of a write of zeroes only. */
enum detect_zeroes {
	DETECT_ZEROES_OFF = 0,
	DETECT_ZEROES_ON,    /* zeroes are written without data        */
	DETECT_ZEROES_UNMAP, /* and space is given back where it can be */
};

struct authz;
struct folder;
struct image;
struct session;

/* A dirty bitmap that clients may see. */
struct export_bitmap {
	const char *name;
	const char *context; /* its metadata context                  */
	struct image *img;   /* that has it: the export's, or one below */
};

struct export
{
	const char *name, *description; /* "" when there is none */
	struct image *img;
	uint64_t start, size; /* the guest bytes of img that are exported */
	bool multi_conn;      /* a client may use several connections     */
	bool depth;	      /* clients may see how deep data lies       */
	enum detect_zeroes detect_zeroes;
	struct authz *authz;   /* who may use it; NULL: everybody */
	struct stats *stats;   /* NULL: nobody asks */
	struct folder *folder; /* where it is from; NULL: always there */
	struct export_bitmap *bitmap;
	unsigned bitmap_n; /* at most EXPORT_BITMAPS_MAX */
};

struct exports {
	struct export *item; /* those that are always there */
	size_t n;
	struct folder *folder; /* and its files; NULL: none */
};

/* May this client, NULL when it is not known, know of the export? */
bool export_visible(const struct export *x, const char *identity);
/* One that is always there, whoever asks, or NULL. */
const struct export *exports_fixed(
    const struct exports *x, const void *name, size_t len);
/* NULL when there is none of that name for this client.  Then
   export_release(). */
const struct export *export_find(const struct exports *x, const char *identity,
    const void *name, size_t len);
void export_release(const struct export *x); /* NULL is allowed */
DEFINE_CLEANUP(export, const struct export, export_release)
/* All that there is something to say of; of those that nobody has, only the
   name and the statistics are there. */
void exports_each(const struct exports *x,
    void (*fn)(const struct export *x, void *data), void *data);
bool export_writable(const struct export *x);
/* The transmission flags for a client that has agreed on this so far. */
uint16_t export_flags(const struct export *x, const struct session *s);

#endif
