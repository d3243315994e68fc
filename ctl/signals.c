/* SPDX-License-Identifier: BSD-3-Clause */
/* The signals that end the program: see signals.h. */
#include "signals.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define PATIENCE_NS 1000000000 /* timeout(1) sends each signal twice */
#define SIGNALS_N   3

static const int ending[SIGNALS_N] = {SIGHUP, SIGINT, SIGTERM};
static char path_to_remove[PATH_MAX];
static atomic_bool must_remove; /* the path is set and stays as it is */
static atomic_bool deferred;
static _Atomic int64_t noted_ns; /* when the first one came; 0: none did */
static atomic_int noted;	 /* which one that was */

static int64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

/* For a handler: nothing else is done any more. */
static void end_at_once(int sig)
{
	if (atomic_load(&must_remove))
		unlink(path_to_remove);
	signal(sig, SIG_DFL);
	raise(sig);
}

static void handle(int sig)
{
	int64_t now = now_ns(), never = 0;
	int saved = errno;

	if (!atomic_load(&deferred))
		end_at_once(sig);
	else if (atomic_compare_exchange_strong(&noted_ns, &never, now))
		atomic_store(&noted, sig);
	else if (now - never > PATIENCE_NS)
		end_at_once(sig);
	errno = saved;
}

void signals_begin(void)
{
	struct sigaction old,
	    act = {.sa_handler = handle, .sa_flags = SA_RESTART};

	for (unsigned i = 0; i < SIGNALS_N; i++)
		if (!sigaction(ending[i], NULL, &old) &&
		    old.sa_handler != SIG_IGN)
			sigaction(ending[i], &act, NULL);
}

void signals_defer(void)
{
	atomic_store(&deferred, true);
}

bool signals_noted(void)
{
	return atomic_load(&noted);
}

void signals_end(void)
{
	int sig = atomic_load(&noted);

	if (!sig)
		return;
	signal(sig, SIG_DFL);
	raise(sig);
}

int signals_temp_make(char *pattern)
{
	sigset_t set, before;
	int fd;

	if (strlen(pattern) >= sizeof path_to_remove) {
		errno = ENAMETOOLONG;
		return -1;
	}
	/* There is no moment in which the file exists and is not known. */
	sigemptyset(&set);
	for (unsigned i = 0; i < SIGNALS_N; i++)
		sigaddset(&set, ending[i]);
	pthread_sigmask(SIG_BLOCK, &set, &before);
	fd = mkostemp(pattern, O_CLOEXEC);
	if (fd >= 0) {
		strcpy(path_to_remove, pattern);
		atomic_store(&must_remove, true);
	}
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return fd;
}

void signals_temp_keep(void)
{
	atomic_store(&must_remove, false);
}
