/* SPDX-License-Identifier: BSD-3-Clause */
/* Threads that wait, as the kernel sees them: see asleep.h. */
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <unistd.h>

#include "asleep.h"
#include "check.h"

#define LOOKS	 60000 /* of a millisecond; for a test that goes wrong */
#define LOOKS_IN 5     /* in a row, so that it is no lock of a moment   */

/* What the kernel tells of a thread; false: it has ended. */
static bool read_status(pid_t tid, char *text, size_t len)
{
	char path[64];
	ssize_t n = -1;
	int fd;

	snprintf(path, sizeof path, "/proc/self/task/%d/status", (int)tid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd >= 0) {
		n = read(fd, text, len - 1);
		close(fd);
	}
	text[n > 0 ? n : 0] = '\0';
	return n > 0;
}

/* How often it has gone to sleep, if it sleeps now; -1: it does not. */
static long sleeps(const char *status)
{
	const char *state = strstr(status, "\nState:");
	const char *n = strstr(status, "\nvoluntary_ctxt_switches:");
	long count;

	if (!state || !n || sscanf(n, " %*s %ld", &count) != 1)
		return -1;
	return state[8] == 'S' ? count : -1;
}

void asleep_wait(const _Atomic pid_t *tid)
{
	unsigned in_a_row = 0;
	long last = -1;

	for (unsigned i = 0; i < LOOKS && in_a_row < LOOKS_IN; i++) {
		char status[4096];
		pid_t t = atomic_load(tid);
		long now;

		if (t && !read_status(t, status, sizeof status))
			return;
		now = t ? sleeps(status) : -1;
		in_a_row = now >= 0 && now == last ? in_a_row + 1 : 0;
		last = now;
		usleep(1000);
	}
	if (in_a_row < LOOKS_IN)
		fail_msg("a thread that has to wait does not");
}
