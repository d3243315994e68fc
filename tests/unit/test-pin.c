/* SPDX-License-Identifier: BSD-3-Clause */
#include <pthread.h>
#include <sched.h>

#include "check.h"
#include "formats/core/pin.h"

static void rules(void **state)
{
	struct pin p;
	unsigned a, b;
	uint64_t tag;

	(void)state;
	pin_init(&p);
	assert_true(pin_passed(&p, pin_now(&p)));
	a = pin_enter(&p);
	tag = pin_now(&p);
	assert_int_equal(pin_inside(&p), 1);
	for (unsigned i = 0; i < 5; i++)
		assert_false(pin_passed(&p, tag));
	/* Who comes after the tag is not waited for. */
	b = pin_enter(&p);
	assert_int_equal(pin_inside(&p), 2);
	pin_leave(&p, a);
	assert_true(pin_passed(&p, tag));
	assert_false(pin_passed(&p, pin_now(&p)));
	pin_leave(&p, b);
	assert_int_equal(pin_inside(&p), 0);
	assert_true(pin_passed(&p, pin_now(&p)));
}

/* There is always somebody inside, and yet every tag passes. */
static void never_empty(void **state)
{
	struct pin p;
	unsigned token, next;
	uint64_t tag;

	(void)state;
	pin_init(&p);
	token = pin_enter(&p);
	for (unsigned i = 0; i < 100; i++) {
		bool passed = false;

		tag = pin_now(&p);
		for (unsigned j = 0; j < 3 && !passed; j++) {
			next = pin_enter(&p);
			pin_leave(&p, token);
			token = next;
			passed = pin_passed(&p, tag);
		}
		assert_true(passed);
	}
	pin_leave(&p, token);
}

/* ---- threads ----------------------------------------------------------- */

#define SLOT_N	 8u
#define READER_N 3u

/* Readers look up the live slot and read it for a while; the writer moves on
 * and overwrites a slot as soon as it may.  The contents are plain memory, so
 * that ThreadSanitizer sees a reuse that came too early. */
static struct {
	struct pin pin;
	_Atomic unsigned live;
	unsigned slot[SLOT_N];
	_Atomic bool stop;
	_Atomic bool changed;
} shared;

static void *reader(void *arg)
{
	(void)arg;
	while (!shared.stop) {
		unsigned token = pin_enter(&shared.pin);
		unsigned slot = shared.live;
		unsigned first = shared.slot[slot];

		sched_yield();
		if (shared.slot[slot] != first)
			shared.changed = true;
		pin_leave(&shared.pin, token);
	}
	return NULL;
}

/* Publish slot after slot.  tag[i]: when slot i was given up. */
static void *writer(void *arg)
{
	uint64_t tag[SLOT_N] = {0};

	(void)arg;
	for (unsigned i = 1; i < 3000; i++) {
		unsigned next = i % SLOT_N, last = (i - 1) % SLOT_N;

		while (i >= SLOT_N && !pin_passed(&shared.pin, tag[next]))
			sched_yield();
		shared.slot[next] = i;
		shared.live = next;
		tag[last] = pin_now(&shared.pin);
	}
	shared.stop = true;
	return NULL;
}

static void threads(void **state)
{
	pthread_t t[READER_N + 1];

	(void)state;
	pin_init(&shared.pin);
	for (unsigned i = 0; i < READER_N; i++)
		assert_int_equal(pthread_create(&t[i], NULL, reader, NULL), 0);
	assert_int_equal(pthread_create(&t[READER_N], NULL, writer, NULL), 0);
	for (unsigned i = 0; i <= READER_N; i++)
		pthread_join(t[i], NULL);
	assert_false(shared.changed);
	assert_int_equal(pin_inside(&shared.pin), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(rules),
	    cmocka_unit_test(never_empty),
	    cmocka_unit_test(threads),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
