/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * JSON in the layout that scripts know: 4 blanks for each level, one member a
 * line, an empty list or object over two lines, everything beyond printable
 * ASCII escaped.  Members come out in the order of the calls.
 */
#ifndef CTL_JOUT_H
#define CTL_JOUT_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

struct jout {
	FILE *f;
	unsigned depth;
	bool inner; /* something stands before in this list or object */
};

/* `key` is NULL for an item of a list, and at the top. */
void jout_begin(struct jout *w, const char *key, char bracket);
void jout_end(struct jout *w, char bracket);
void jout_text(struct jout *w, const char *key, const char *text);
void jout_u64(struct jout *w, const char *key, uint64_t v);
void jout_i64(struct jout *w, const char *key, int64_t v);
void jout_bool(struct jout *w, const char *key, bool v);
void jout_tree(struct jout *w, const char *key, json_t *tree);
/* A whole document ends with a newline. */
void jout_done(struct jout *w);

#endif
