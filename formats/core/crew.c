/* SPDX-License-Identifier: BSD-3-Clause */
/* A crew of threads: see crew.h. */
#include <pthread.h>
#include <sched.h>

#include "crew.h"
#include "units.h"

struct crew {
	void (*fn)(void *arg);
	void *arg;
};

static void *member(void *arg)
{
	const struct crew *c = arg;

	c->fn(c->arg);
	return NULL;
}

unsigned crew_default(void)
{
	cpu_set_t set;

	if (sched_getaffinity(0, sizeof set, &set))
		return 1;
	return (unsigned)max_u64(
	    1, min_u64((uint64_t)CPU_COUNT(&set), CREW_MAX));
}

void crew_run(unsigned n, void (*fn)(void *arg), void *arg)
{
	struct crew c = {fn, arg};
	pthread_t thread[CREW_MAX];
	unsigned started = 0;

	while (started + 1 < n && started + 1 < CREW_MAX &&
	       !pthread_create(&thread[started], NULL, member, &c))
		started++;
	fn(arg);
	while (started)
		pthread_join(thread[--started], NULL);
}
