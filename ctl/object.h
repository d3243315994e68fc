/* SPDX-License-Identifier: BSD-3-Clause */
/* --object: things that options refer to by their id, such as a secret. */
#ifndef CTL_OBJECT_H
#define CTL_OBJECT_H

enum object_result {
	OBJECT_OK,
	OBJECT_HELP,  /* help was asked for, and printed */
	OBJECT_WRONG, /* a message was printed           */
};

/* Make those of a list that ends with NULL; NULL is an empty one. */
enum object_result object_make(const char *const *list);

#endif
