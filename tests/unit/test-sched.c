/* SPDX-License-Identifier: BSD-3-Clause */
/* Worker threads: lanes take turns, and a slow job stops nobody. */
#include <pthread.h>
#include <stdatomic.h>
#include <unistd.h>

#include "check.h"
#include "formats/core/units.h"
#include "server/sched.h"

#define JOBS 6

struct note {
	struct job job;
	char name;
	char *log;
	_Atomic unsigned *len; /* of the log */
	pthread_mutex_t *gate; /* NULL: does not wait */
};

static void run_note(struct job *j)
{
	struct note *n = (struct note *)j;

	if (n->gate) {
		pthread_mutex_lock(n->gate);
		pthread_mutex_unlock(n->gate);
	}
	n->log[*n->len] = n->name; /* never two at a time here */
	++*n->len;
}

static void wait_len(_Atomic unsigned *len, unsigned want)
{
	for (int i = 0; i < 2000 && *len < want; i++)
		usleep(10000);
	assert_int_equal(*len, want);
}

/* One thread: while it is busy, one client asks for much and two for little. */
static void test_turns(void **state)
{
	static const char names[JOBS] = "xaaabc";
	pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER;
	struct lane lane[4] = {{0}};
	struct note note[JOBS];
	char log[JOBS + 1] = "";
	_Atomic unsigned len = 0;
	struct err e = ERR_INIT;
	struct sched *s = sched_new(1, &e);

	(void)state;
	assert_non_null(s);
	pthread_mutex_lock(&gate);
	for (int i = 0; i < JOBS; i++) {
		char name = names[i];

		note[i] = (struct note){.job.run = run_note,
		    .name = name,
		    .log = log,
		    .len = &len,
		    .gate = name == 'x' ? &gate : NULL};
		sched_submit(
		    s, &lane[name == 'x' ? 3 : name - 'a'], &note[i].job);
	}
	pthread_mutex_unlock(&gate);
	wait_len(&len, JOBS);
	assert_string_equal(log, "xabcaa");
	sched_free(s);
}

/* One job that hangs does not stop what comes after it. */
static void test_slow_job(void **state)
{
	pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER;
	struct lane lane = {0};
	struct note note[JOBS];
	char log[JOBS + 1] = "";
	_Atomic unsigned len = 0;
	struct err e = ERR_INIT;
	struct sched *s = sched_new(2, &e);

	(void)state;
	assert_non_null(s);
	pthread_mutex_lock(&gate);
	for (int i = 0; i < JOBS; i++) {
		note[i] = (struct note){.job.run = run_note,
		    .name = (char)('0' + i),
		    .log = log,
		    .len = &len,
		    .gate = i ? NULL : &gate};
		sched_submit(s, &lane, &note[i].job);
	}
	wait_len(&len, JOBS - 1);
	assert_string_equal(log, "12345");
	pthread_mutex_unlock(&gate);
	wait_len(&len, JOBS);
	sched_free(s);
}

#define MANY 20000

static _Atomic unsigned counted;

static void run_count(struct job *j)
{
	(void)j;
	counted++;
}

/* Threads fall asleep and are woken all the time; none of the jobs waits for a
   thread that sleeps. */
static void test_none_forgotten(void **state)
{
	static struct job job[MANY];
	struct lane lane = {0};
	struct err e = ERR_INIT;
	struct sched *s = sched_new(4, &e);
	unsigned sent = 0;

	(void)state;
	assert_non_null(s);
	for (unsigned burst = 1; sent < MANY; burst = burst % 7 + 1) {
		for (unsigned i = 0; i < burst && sent < MANY; i++) {
			job[sent].run = run_count;
			sched_submit(s, &lane, &job[sent++]);
		}
		for (int i = 0; i < 20000 && counted < sent; i++)
			usleep(i < 100 ? 0 : 1000);
		assert_int_equal(counted, sent);
	}
	sched_free(s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_turns),
	    cmocka_unit_test(test_slow_job),
	    cmocka_unit_test(test_none_forgotten),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
