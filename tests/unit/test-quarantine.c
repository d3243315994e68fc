/* SPDX-License-Identifier: BSD-3-Clause */
#include <pthread.h>
#include <sched.h>

#include "check.h"
#include "formats/core/quarantine.h"

static struct quarantine q;
static struct pin pin;

static int setup(void **state)
{
	(void)state;
	quarantine_init(&q);
	pin_init(&pin);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	quarantine_destroy(&q);
	return 0;
}

static void add(uint64_t host)
{
	struct retired r = {.host = host, .len = 512, .punch = host % 2};
	struct err e = ERR_INIT;

	r.tag = pin_now(&pin);
	assert_ok(quarantine_add(&q, &r, &e), &e);
}

static void commit(void)
{
	quarantine_forgotten(&q, quarantine_mark(&q));
}

static void takes(uint64_t host)
{
	struct retired r;

	assert_true(quarantine_take(&q, &pin, &r));
	assert_int_equal(r.host, host);
	assert_int_equal(r.len, 512);
	assert_int_equal(r.punch, host % 2);
}

static void takes_none(void)
{
	struct retired r;

	assert_false(quarantine_take(&q, &pin, &r));
}

/* Only a commit that began later makes the forgetting durable. */
static void commits(void **state)
{
	uint64_t mark;

	(void)state;
	takes_none();
	add(1);
	takes_none();
	mark = quarantine_mark(&q);
	add(2);
	takes_none();
	quarantine_forgotten(&q, mark);
	takes(1);
	takes_none();
	commit();
	quarantine_forgotten(&q, mark); /* an older commit ends later */
	takes(2);
	takes_none();
}

/* Whoever could have seen the space must have left. */
static void requests(void **state)
{
	unsigned before, after;

	(void)state;
	before = pin_enter(&pin);
	add(1);
	commit();
	takes_none();
	after = pin_enter(&pin);
	takes_none();
	pin_leave(&pin, before);
	takes(1);
	add(2);
	commit();
	takes_none();
	pin_leave(&pin, after);
	takes(2);
}

/* Nothing is lost or mixed up when the list grows, wherever it begins. */
static void growth(void **state)
{
	uint64_t in = 0, out = 0;

	(void)state;
	for (unsigned round = 1; round < 300; round += 7) {
		for (unsigned i = 0; i < round; i++)
			add(in++);
		commit();
		for (unsigned i = 0; i < round * 3 / 4; i++)
			takes(out++);
	}
	while (out < in)
		takes(out++);
	takes_none();
}

static void add_whole(uint64_t host, uint64_t len, bool punch)
{
	struct retired r = {
	    .host = host, .len = len, .punch = punch, .whole = true};
	struct err e = ERR_INIT;

	r.tag = pin_now(&pin);
	assert_ok(quarantine_add(&q, &r, &e), &e);
}

/* Whole clusters become one range, unless that would change when or how. */
static void neighbours(void **state)
{
	struct retired r;

	(void)state;
	add_whole(0, 512, false);
	add_whole(512, 512, false);
	assert_int_equal(quarantine_n(&q), 1);
	add_whole(1024, 512, true); /* punched */
	add_whole(2048, 512, true); /* not a neighbour */
	assert_int_equal(quarantine_n(&q), 3);
	commit();
	add_whole(2560, 512, true); /* not of that commit */
	assert_int_equal(quarantine_n(&q), 4);
	assert_true(pin_passed(&pin, pin_now(&pin)));
	add_whole(3072, 512, true); /* seen by others */
	assert_int_equal(quarantine_n(&q), 5);
	add(3584); /* not whole */
	assert_int_equal(quarantine_n(&q), 6);
	assert_true(quarantine_in_order(&q));

	assert_true(quarantine_take(&q, &pin, &r));
	assert_int_equal(r.host, 0);
	assert_int_equal(r.len, 1024);
	assert_true(quarantine_take(&q, &pin, &r));
	assert_true(quarantine_take(&q, &pin, &r));
	takes_none();
	assert_int_equal(quarantine_n(&q), 3);
	assert_true(quarantine_in_order(&q));
}

/* ---- threads ----------------------------------------------------------- */

#define ADD_N 3000u

static _Atomic bool done;
static _Atomic bool failed;

static void *adder(void *arg)
{
	struct err e = ERR_INIT;

	(void)arg;
	for (uint64_t i = 0; i < ADD_N; i++) {
		unsigned token = pin_enter(&pin);
		struct retired r = {.host = i, .tag = pin_now(&pin)};

		if (quarantine_add(&q, &r, &e))
			failed = true;
		pin_leave(&pin, token);
	}
	done = true;
	return NULL;
}

static void *committer(void *arg)
{
	(void)arg;
	while (!done) {
		commit();
		sched_yield();
	}
	commit();
	return NULL;
}

static void threads(void **state)
{
	pthread_t a, c;
	struct retired r;
	uint64_t next = 0;

	(void)state;
	done = false;
	assert_int_equal(pthread_create(&a, NULL, adder, NULL), 0);
	assert_int_equal(pthread_create(&c, NULL, committer, NULL), 0);
	while (next < ADD_N) {
		if (!quarantine_take(&q, &pin, &r))
			sched_yield();
		else if (r.host != next++)
			failed = true;
	}
	pthread_join(a, NULL);
	pthread_join(c, NULL);
	assert_false(failed);
	takes_none();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(commits, setup, teardown),
	    cmocka_unit_test_setup_teardown(requests, setup, teardown),
	    cmocka_unit_test_setup_teardown(growth, setup, teardown),
	    cmocka_unit_test_setup_teardown(neighbours, setup, teardown),
	    cmocka_unit_test_setup_teardown(threads, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
