/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Memory host file: what test-host does not reach, which is the pages.
 */
#include <pthread.h>
#include <stdlib.h>

#include "check.h"
#include "formats/core/units.h"
#include "formats/host/hostfile.h"
#include "rng.h"

#define PAGE_LEN 65536ull
#define FAR	 (1ull << 62)

static struct hostfile *new_file(uint64_t size)
{
	struct err e = ERR_INIT;
	struct hostfile *f = host_open_memory("m", size, &e);

	assert_no_error(&e);
	return f;
}

static void put(struct hostfile *f, uint64_t off)
{
	struct err e = ERR_INIT;

	assert_ok(host_pwrite(f, "x", 1, off, &e), &e);
}

static char get(struct hostfile *f, uint64_t off)
{
	struct err e = ERR_INIT;
	char byte = '?';

	assert_ok(host_pread(f, &byte, 1, off, &e), &e);
	return byte;
}

static void maps(
    struct hostfile *f, uint64_t off, uint64_t len, bool hole, uint64_t want)
{
	struct err e = ERR_INIT;
	struct host_extent x;

	assert_ok(host_map(f, off, len, &x, &e), &e);
	assert_int_equal(x.hole, hole);
	assert_int_equal(x.len, want);
}

/* A huge size costs nothing, and takes no time. */
static void huge(void **state)
{
	struct hostfile *f = new_file(INT64_MAX);
	struct err e = ERR_INIT;

	(void)state;
	assert_int_equal(host_disk_len(f), 0);
	maps(f, 0, UINT64_MAX, true, INT64_MAX);
	put(f, INT64_MAX - 1);
	put(f, FAR);
	put(f, FAR + PAGE_LEN);
	assert_int_equal(host_disk_len(f), 3 * PAGE_LEN);
	maps(f, 3, INT64_MAX, true, FAR - 3);
	maps(f, FAR + 5, INT64_MAX - FAR, false, 2 * PAGE_LEN - 5);
	maps(f, FAR + 5, 9, false, 9);
	maps(f, INT64_MAX - 1, 7, false, 1);
	assert_int_equal(get(f, FAR), 'x');
	assert_int_equal(get(f, FAR + 1), 0);
	assert_int_equal(host_punch(f, 1, UINT64_MAX - 1, &e), 1);
	assert_int_equal(host_disk_len(f), PAGE_LEN); /* not a whole page */
	assert_int_equal(get(f, FAR), 0);
	assert_int_equal(get(f, INT64_MAX - 1), 0);
	host_put(f);
}

/* Punching and cutting free whole pages and clear parts. */
static void pages(void **state)
{
	struct hostfile *f = new_file(0);
	struct err e = ERR_INIT;

	(void)state;
	for (uint64_t off = 0; off < 4 * PAGE_LEN; off += PAGE_LEN / 2)
		put(f, off);
	assert_int_equal(host_punch(f, PAGE_LEN / 2, 2 * PAGE_LEN, &e), 1);
	assert_int_equal(host_disk_len(f), 3 * PAGE_LEN);
	maps(f, 0, FAR, false, PAGE_LEN);
	maps(f, PAGE_LEN, FAR, true, PAGE_LEN);
	assert_int_equal(get(f, 0), 'x');
	assert_int_equal(get(f, PAGE_LEN / 2), 0);
	assert_int_equal(get(f, 2 * PAGE_LEN), 0);
	assert_int_equal(get(f, 2 * PAGE_LEN + PAGE_LEN / 2), 'x');

	assert_ok(host_truncate(f, 2 * PAGE_LEN + 1, &e), &e);
	assert_int_equal(host_disk_len(f), 2 * PAGE_LEN);
	assert_ok(host_truncate(f, 4 * PAGE_LEN, &e), &e);
	assert_int_equal(get(f, 2 * PAGE_LEN + PAGE_LEN / 2), 0);
	assert_int_equal(get(f, 3 * PAGE_LEN), 0);
	host_put(f);
}

/* A range inside one page, whatever pages follow. */
static void inside_a_page(void **state)
{
	struct hostfile *f = new_file(0);
	struct err e = ERR_INIT;

	(void)state;
	put(f, 10);
	put(f, 12);
	put(f, PAGE_LEN);
	assert_int_equal(host_punch(f, 5, 6, &e), 1);
	assert_int_equal(get(f, 10), 0);
	assert_int_equal(get(f, 12), 'x');
	assert_int_equal(get(f, PAGE_LEN), 'x');
	assert_int_equal(host_disk_len(f), 2 * PAGE_LEN);
	host_put(f);
}

/* Pages come in any order and are found again. */
static void many_pages(void **state)
{
	static bool there[2048];
	struct hostfile *f = new_file(ARRAY_N(there) * PAGE_LEN);
	struct rng r = {2};
	uint64_t n = 0;

	(void)state;
	for (unsigned i = 0; i < 1000; i++) {
		uint64_t page_ix = rng_below(&r, ARRAY_N(there));

		n += !there[page_ix];
		there[page_ix] = true;
		put(f, page_ix * PAGE_LEN + 77);
	}
	assert_int_equal(host_disk_len(f), n * PAGE_LEN);
	for (uint64_t i = 0; i < ARRAY_N(there); i++)
		assert_int_equal(get(f, i * PAGE_LEN + 77), there[i] ? 'x' : 0);
	host_put(f);
}

/* ---- readers beside writers -------------------------------------------- */

struct race {
	struct hostfile *f;
	_Atomic bool stop, torn;
};

/* Sectors are seen whole: all their bytes are of one write. */
static void *reader(void *arg)
{
	struct race *race = arg;
	struct err e = ERR_INIT;
	uint8_t buf[SECTOR_LEN];

	while (!race->stop) {
		if (host_pread(race->f, buf, sizeof buf, PAGE_LEN, &e))
			race->torn = true;
		for (unsigned i = 1; i < sizeof buf; i++)
			if (buf[i] != buf[0])
				race->torn = true;
	}
	return NULL;
}

static void readers(void **state)
{
	struct race race = {.f = new_file(2 * PAGE_LEN)};
	struct err e = ERR_INIT;
	uint8_t buf[2 * SECTOR_LEN];
	pthread_t t[2];

	(void)state;
	for (unsigned i = 0; i < ARRAY_N(t); i++)
		assert_int_equal(pthread_create(&t[i], NULL, reader, &race), 0);
	for (unsigned i = 0; i < 3000; i++) {
		memset(buf, (int)i, sizeof buf);
		if (i % 7 == 0)
			host_punch(race.f, 0, 2 * PAGE_LEN, &e);
		else
			host_pwrite(race.f, buf, sizeof buf,
			    PAGE_LEN - i % 2 * SECTOR_LEN, &e);
	}
	race.stop = true;
	for (unsigned i = 0; i < ARRAY_N(t); i++)
		pthread_join(t[i], NULL);
	assert_no_error(&e);
	assert_false(race.torn);
	host_put(race.f);
}

static void too_large(void **state)
{
	struct err e = ERR_INIT;

	(void)state;
	assert_null(host_open_memory("m", 1ull << 63, &e));
	assert_string_equal(e.msg, "m: could not resize to "
				   "9223372036854775808 bytes: File too large");
}

static void references(void **state)
{
	struct hostfile *f = new_file(0), *again = host_ref(f);
	struct err e = ERR_INIT;

	(void)state;
	put(f, 3);
	assert_ok(host_close(f, &e), &e);
	assert_int_equal(get(again, 3), 'x');
	assert_ok(host_close(again, &e), &e);
	host_put(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(huge),
	    cmocka_unit_test(pages),
	    cmocka_unit_test(inside_a_page),
	    cmocka_unit_test(many_pages),
	    cmocka_unit_test(readers),
	    cmocka_unit_test(too_large),
	    cmocka_unit_test(references),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
