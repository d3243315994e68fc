/* SPDX-License-Identifier: BSD-3-Clause */
/* A group of cmocka's with a test for each of many scenes. */
#ifndef TEST_GROUP_H
#define TEST_GROUP_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

struct group {
	struct CMUnitTest *test;
	size_t n;
};

/*
 * One test more, in this order.  *state of it is `scene`; both that and `name`
 * stay the caller's, until the group has run.
 */
void group_add(struct group *g, const char *name, CMUnitTestFunction test,
    const void *scene);
/* Run them all; for main() to return.  The group is empty then. */
int group_run(struct group *g, const char *name);

#endif
