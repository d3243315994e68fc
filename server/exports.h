/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Opening what is served.  What changes struct exports is the main thread's,
 * before there are clients and after they have left.
 */
#ifndef IMGD_EXPORTS_H
#define IMGD_EXPORTS_H

#include "image.h"

#include "export.h"

/* What the user said about an export.  Strings are kept. */
struct export_spec {
	const char *name, *description; /* "" when not given */
	const char *file; /* a name, or with image_opts an option list */
	bool image_opts;
	struct img_open open;
	bool scratch;	 /* writes do not reach the file */
	bool native_aio; /* asked for: the page cache must be off */
	enum detect_zeroes detect_zeroes;
	uint64_t offset;     /* guest bytes of the image left out */
	const char **bitmap; /* names of bitmaps to offer */
	unsigned bitmap_n;
	const char *authz;   /* ID of who may use it; NULL: everybody */
	bool quiet;	     /* no warnings */
	struct options *own; /* holds the strings; NULL: others do */
};

/* "unmap" or "on", "ignore" or "off": IMG_O_DISCARD; false when unknown. */
bool export_parse_discard(const char *mode, unsigned *flags);

/* "allow", "deny"; false when unknown. */
bool export_parse_backing(const char *mode, enum img_gate *gate);
/* "off", "on", "unmap"; false when unknown. */
bool export_parse_detect_zeroes(const char *mode, enum detect_zeroes *out);
/* NULL, or why not: to unmap takes a discard that does. */
const char *export_detect_zeroes_wrong(const struct export_spec *spec);

/* Without statistics.  export_close() in any case. */
int export_open(struct export *x, const struct export_spec *spec,
    bool multi_conn, struct err *e);
int export_close(struct export *x, struct err *e);

/* Adds an export.  `multi_conn`: its clients may use several connections. */
int exports_add(struct exports *x, const struct export_spec *spec,
    bool multi_conn, struct err *e);
/* Every file of a folder; `base` says how they are opened, and is kept. */
int exports_add_folder(struct exports *x, const char *dir,
    const struct export_spec *base, bool multi_conn, struct err *e);
/* Flushes and closes all, also after an error. */
int exports_close(struct exports *x, struct err *e);

#endif
