/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * --object: things that options refer to by their ID, such as a secret or TLS
 * credentials.
 *
 * An object has a type (the first word, or `qom-type`), an `id`, and the
 * properties of its type.  A process has one set of them, made before anything
 * refers to them and before there is a second thread.
 */
#ifndef IMGD_OBJECT_H
#define IMGD_OBJECT_H

#include <stddef.h>
#include <stdint.h>

#include "options.h"

struct object {
	struct object *next;
	const char *type, *id;
	struct options *properties;
	uint8_t *secret; /* of a secret; NULL else */
	size_t secret_len;
};

/*
 * Takes what may be secret in the arguments of --object off the command line,
 * which others can see: argv then has copies, which live as long as the
 * process.  Before anything else looks at argv.
 */
int object_hide(int argc, char **argv, struct err *e);
/*
 * From `TYPE,id=ID,...` or JSON.  0 made; 1 help was asked for: *help is its
 * text, malloc'd; -1.
 */
int object_add(const char *text, char **help, struct err *e);
/* NULL when there is none of that ID. */
const struct object *object_find(const char *id);
/* The bytes of a secret, a text without what is after a NUL; they live as long
 * as the process. */
const char *object_secret(const char *id, struct err *e);

/* Are these the `policy` and `rules` of an authz-list? */
int object_check_rules(struct options *o, struct err *e);

#endif
