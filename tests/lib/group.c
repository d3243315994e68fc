/* SPDX-License-Identifier: BSD-3-Clause */
#include <stdio.h>
#include <stdlib.h>

#include "group.h"

void group_add(struct group *g, const char *name, CMUnitTestFunction test,
    const void *scene)
{
	g->test = reallocarray(g->test, g->n + 1, sizeof *g->test);
	if (!g->test) {
		perror("group_add");
		exit(1);
	}
	g->test[g->n++] = (struct CMUnitTest){.name = name,
	    .test_func = test,
	    .initial_state = (void *)(uintptr_t)scene};
}

int group_run(struct group *g, const char *name)
{
	int failed = _cmocka_run_group_tests(name, g->test, g->n, NULL, NULL);

	free(g->test);
	*g = (struct group){0};
	return failed;
}
