/* SPDX-License-Identifier: BSD-3-Clause */
/* convert, in parts: what is asked for (cmd_convert.c, convertopts.c), and
 * doing it (convert.c). */
#ifndef CTL_CONVERT_H
#define CTL_CONVERT_H

#include "bitmaps.h"
#include "command.h"
#include "formats/image.h"

struct convert_args {
	struct common c;
	const char *target_format, *backing, *backing_fmt;
	const char *snapshot, *sparse, *threads, *rate;
	const char **options;
	bool offload, compress, existing, unordered, salvage;
	bool target_opts, target_zero, bitmaps, skip_broken;
};

/* The same, read and checked. */
struct convert {
	const struct convert_args *a;
	const struct img_format
	    *format; /* of the target; NULL: its options say */
	struct options *options;
	const char *target;
	enum img_cache cache, src_cache;
	struct img_copy copy; /* src: room for all sources, none open yet */
	struct bitmaps bitmaps;
};

/* Can these sources be read together?  Said before any is opened. */
int convert_check_sources(const struct convert *x, struct err *e);
/* Read what the target is to be, once the sources are open. */
int convert_read_target(struct convert *x, struct err *e);
/* 0, or EXIT_FAILURE after a message. */
int convert_do(struct convert *x);

#endif
