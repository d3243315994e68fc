/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Images as the command line names them: a file name, or with --image-opts a
 * list of options.
 */
#ifndef CTL_SOURCE_H
#define CTL_SOURCE_H

#include "command.h"
#include "formats/image.h"

struct source {
	const char *name;
	bool is_opts; /* the name is a list of options */
	struct img_open how;
};

/* `name` with what the common options say: -f, -U, --image-opts. */
struct source source_operand(const struct common *c, const char *name);
/* NULL with *e set. */
struct image *source_open(const struct source *s, struct err *e);

/* A cache mode; NULL leaves *out.  False after `Invalid WHAT option: X`. */
bool source_cache(const char *text, const char *what, enum img_cache *out);
/* Exactly one operand?  False after a message. */
bool source_one_operand(const struct common *c);
/* Not both --image-opts and -f?  False after a message. */
bool source_opts_valid(const struct common *c);

/* For an image that is written: that it is raw was only guessed. */
void source_warn_probed(const struct image *img, const char *name);

#endif
