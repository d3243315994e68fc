/* SPDX-License-Identifier: BSD-3-Clause */
#include <pthread.h>
#include <sched.h>
#include <unistd.h>

#include "check.h"
#include "formats/core/range.h"
#include "rng.h"

static struct range_locks locks;

static int setup(void **state)
{
	(void)state;
	range_init(&locks);
	return 0;
}

/* Aborts when a range is still there. */
static int teardown(void **state)
{
	(void)state;
	range_destroy(&locks);
	return 0;
}

static void overlap(void **state)
{
	struct range a, b, c, d;

	(void)state;
	range_lock(&locks, &a, 100, 200);
	range_lock(&locks, &b, 200, 300); /* neighbours do not overlap */
	assert_true(range_trylock(&locks, &c, 50, 100));
	assert_false(range_trylock(&locks, &d, 199, 200));
	assert_false(range_trylock(&locks, &d, 0, UINT64_MAX));
	assert_false(range_trylock(&locks, &d, 120, 130));
	assert_false(range_trylock(&locks, &d, 99, 101));
	range_unlock(&locks, &a);
	assert_true(range_trylock(&locks, &d, 100, 200));
	range_unlock(&locks, &c);
	range_unlock(&locks, &d);
	range_unlock(&locks, &b);
}

struct waiter {
	struct range range;
	uint64_t start, end;
	pthread_t thread;
	unsigned turn; /* under its range */
};

static _Atomic unsigned turns;

static void *take_turn(void *arg)
{
	struct waiter *w = arg;

	range_lock(&locks, &w->range, w->start, w->end);
	w->turn = ++turns;
	range_unlock(&locks, &w->range);
	return NULL;
}

/* Starts a thread and returns when it is in the queue, held or not. */
static void queue(struct waiter *w)
{
	bool in = false;

	assert_int_equal(pthread_create(&w->thread, NULL, take_turn, w), 0);
	for (unsigned i = 0; !in; i++) {
		assert_true(i < 5000);
		usleep(1000);
		mutex_lock(&locks.lock);
		in = locks.tail == &w->range;
		mutex_unlock(&locks.lock);
	}
}

/* Who comes later does not pass a waiter that he overlaps. */
static void order(void **state)
{
	struct waiter w[3] = {{.start = 5, .end = 15}, {.start = 12, .end = 30},
	    {.start = 29, .end = 40}};
	struct range first, other;

	(void)state;
	turns = 0;
	range_lock(&locks, &first, 0, 10);
	for (unsigned i = 0; i < 3; i++)
		queue(&w[i]);
	assert_false(range_trylock(&locks, &other, 35, 36));
	assert_true(range_trylock(&locks, &other, 40, 41));
	range_unlock(&locks, &other);
	assert_int_equal(turns, 0);
	range_unlock(&locks, &first);
	for (unsigned i = 0; i < 3; i++) {
		pthread_join(w[i].thread, NULL);
		assert_int_equal(w[i].turn, i + 1);
	}
}

/* ---- many threads ------------------------------------------------------ */

#define UNIT_N 32u

static unsigned owner[UNIT_N]; /* each under the lock of its range */

struct worker {
	unsigned id;
	bool shared; /* somebody else was there */
};

static void *work(void *arg)
{
	struct worker *w = arg;
	struct rng r = {w->id};
	struct range range;

	for (unsigned i = 0; i < 2000; i++) {
		uint64_t start = rng_below(&r, UNIT_N);
		uint64_t end = start + 1 + rng_below(&r, UNIT_N - start);

		if (i % 3)
			range_lock(&locks, &range, start, end);
		else if (!range_trylock(&locks, &range, start, end))
			continue;
		for (uint64_t u = start; u < end; u++) {
			w->shared = w->shared || owner[u];
			owner[u] = w->id;
		}
		sched_yield();
		for (uint64_t u = start; u < end; u++) {
			w->shared = w->shared || owner[u] != w->id;
			owner[u] = 0;
		}
		range_unlock(&locks, &range);
	}
	return NULL;
}

static void threads(void **state)
{
	struct worker w[4];
	pthread_t t[4];

	(void)state;
	for (unsigned i = 0; i < 4; i++) {
		w[i] = (struct worker){.id = i + 1};
		assert_int_equal(pthread_create(&t[i], NULL, work, &w[i]), 0);
	}
	for (unsigned i = 0; i < 4; i++) {
		pthread_join(t[i], NULL);
		assert_false(w[i].shared);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(overlap, setup, teardown),
	    cmocka_unit_test_setup_teardown(order, setup, teardown),
	    cmocka_unit_test_setup_teardown(threads, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
