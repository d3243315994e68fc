/* SPDX-License-Identifier: BSD-3-Clause */
/* A new image with the content of others: what convert and dd have in common.
 */
#ifndef CTL_NEWIMAGE_H
#define CTL_NEWIMAGE_H

#include "bitmaps.h"
#include "formats/image.h"
#include "target.h"

struct newimage {
	const char *name;
	const struct img_format *format;
	struct options *options; /* of the format; with `size` */
	enum img_cache cache;
	struct img_copy copy;	       /* all but `dst` */
	const struct bitmaps *bitmaps; /* of the source to copy; NULL: none */
	const char *failure; /* what to say when it cannot be created */
};

/*
 * Make the image beside what stands at its name, fill it, and put it in place.
 * On failure what stood there is as before (see target.h).
 */
int newimage_make(struct newimage *n, struct err *e);
/* Begin with the file of an image that is to be made. */
int newimage_target(struct target *t, const char *name, const char *format,
    struct options *options, struct err *e);
/* The content of an open image, and bitmaps unless NULL. */
int newimage_fill(
    const struct img_copy *copy, const struct bitmaps *bitmaps, struct err *e);
/* The end of a job that wrote to `img`, which is gone after the call. */
int newimage_finish(struct image *img, enum img_cache cache, struct err *e);

#endif
