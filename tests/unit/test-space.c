/* SPDX-License-Identifier: BSD-3-Clause */
/* Host space against an array that knows the owners of each unit. */
#include "check.h"
#include "formats/core/space.h"
#include "formats/core/units.h"
#include "rng.h"

#define BASE  1000u
#define UNIT  520u /* no power of two: a block with a bitmap before it */
#define UNITS 80000u

static uint8_t owners[UNITS]; /* 0 free, 1 owned, 2 shared */
static uint64_t end_ix;	      /* units that the file has    */

static void check_taken(uint64_t host, uint64_t got, uint64_t least)
{
	uint64_t ix = (host - BASE) / UNIT;

	assert_int_equal((host - BASE) % UNIT, 0);
	assert_int_equal(got % (least * UNIT), 0);
	assert_true(got > 0);
	for (uint64_t i = ix; i < ix + got / UNIT; i++) {
		assert_true(i < UNITS);
		assert_int_equal(owners[i], 0);
		owners[i] = 1;
	}
}

/* At the front: the first run of `least` free units. */
static void check_first(uint64_t host, uint64_t least)
{
	uint64_t ix = (host - BASE) / UNIT, run = 0;

	for (uint64_t i = 0; i < ix && i < end_ix; i++) {
		run = owners[i] ? 0 : run + 1;
		assert_true(run < least);
	}
	end_ix = max_u64(end_ix, ix);
}

static void take_some(struct space *s, struct rng *rng)
{
	uint64_t least = 1 + rng_below(rng, 5), host, got;
	uint64_t most = least * (1 + rng_below(rng, 20));
	struct err e = ERR_INIT;

	assert_ok(
	    space_take(s, least * UNIT, most * UNIT, &host, &got, &e), &e);
	assert_true(got <= most * UNIT);
	check_first(host, least);
	check_taken(host, got, least);
	end_ix = max_u64(end_ix, (host + got - BASE) / UNIT);
}

/* A run of units with one owner; the space forgets a free end. */
static void give_some(struct space *s, struct rng *rng)
{
	uint64_t ix = rng_below(rng, end_ix + 1), n = 0;

	while (ix + n < end_ix && owners[ix + n] == 1 && n < 60)
		owners[ix + n++] = 0;
	space_give(s, BASE + ix * UNIT, n * UNIT);
	while (end_ix && !owners[end_ix - 1])
		end_ix--;
}

static void claim_some(struct space *s, struct rng *rng, uint64_t limit_ix)
{
	uint64_t from = rng_below(rng, limit_ix * UNIT);
	uint64_t len = 1 + rng_below(rng, 9 * UNIT);
	uint64_t ix = from / UNIT, last = (from + len - 1) / UNIT;
	struct err e = ERR_INIT;
	bool twice = false;

	if (ix < end_ix && last >= end_ix)
		end_ix = last + 1;
	for (uint64_t i = ix; i <= last && i < UNITS; i++) {
		twice |= owners[i];
		owners[i] = owners[i] ? 2 : 1;
	}
	assert_int_equal(space_claim(s, BASE + from, len, &e), twice);
}

static void check_shared(const struct space *s)
{
	for (uint64_t i = 0; i < UNITS - 20; i++)
		assert_int_equal(
		    space_shared(s, BASE + i * UNIT + 3, 1), owners[i] == 2);
	assert_false(space_shared(s, 0, BASE));
}

static void run(unsigned seed, uint64_t file_units, unsigned claims)
{
	struct rng rng = {seed};
	struct err e = ERR_INIT;
	struct space s;

	memset(owners, 0, sizeof owners);
	space_init(&s, BASE, UNIT, BASE + file_units * UNIT - 7,
	    BASE + (uint64_t)UNITS * UNIT);
	assert_ok(space_scan_begin(&s, &e), &e);
	assert_int_equal(space_claim(&s, 0, BASE, &e), 0);
	end_ix = file_units;
	for (unsigned i = 0; i < claims; i++)
		claim_some(&s, &rng, file_units + 500);
	space_scan_end(&s);
	while (end_ix && !owners[end_ix - 1])
		end_ix--;
	assert_int_equal(space_end(&s), BASE + end_ix * UNIT);
	check_shared(&s);
	for (unsigned i = 0; i < 3000; i++)
		if (rng_below(&rng, 5) < 3)
			take_some(&s, &rng);
		else
			give_some(&s, &rng);
	check_shared(&s);
	space_destroy(&s);
}

static void against_array(void **state)
{
	(void)state;
	run(1, 1, 0);
	run(2, 32768, 200);
	run(3, 40000, 3000);
	run(4, 33000, 1);
}

static void without_scan_all_is_owned(void **state)
{
	struct err e = ERR_INIT;
	uint64_t host, got;
	struct space s;

	(void)state;
	space_init(&s, 0, MiB, 10 * MiB + 1, 20 * MiB);
	assert_ok(space_take(&s, MiB, 4 * MiB, &host, &got, &e), &e);
	assert_int_equal(host, 11 * MiB);
	assert_int_equal(got, 4 * MiB);
	space_give(&s, 3 * MiB, 2 * MiB);
	assert_ok(space_take(&s, MiB, 4 * MiB, &host, &got, &e), &e);
	assert_int_equal(host, 3 * MiB);
	assert_int_equal(got, 2 * MiB);
	space_destroy(&s);
}

static void limit_holds(void **state)
{
	struct err e = ERR_INIT;
	uint64_t host, got;
	struct space s;

	(void)state;
	space_init(&s, 0, MiB, 0, 5 * MiB);
	assert_ok(space_take(&s, 2 * MiB, 8 * MiB, &host, &got, &e), &e);
	assert_int_equal(got, 4 * MiB);
	assert_int_equal(space_take(&s, 2 * MiB, 2 * MiB, &host, &got, &e), -1);
	assert_int_equal(e.errnum, EFBIG);
	space_destroy(&s);
}

/* The file grows over units that were claimed past its end. */
static void far_claims_are_passed_by(void **state)
{
	struct err e = ERR_INIT;
	uint64_t host, got;
	struct space s;

	(void)state;
	space_init(&s, 0, MiB, 0, TiB);
	assert_ok(space_scan_begin(&s, &e), &e);
	assert_int_equal(space_claim(&s, 3 * MiB, MiB, &e), 0);
	assert_int_equal(space_claim(&s, TiB / 2, MiB, &e), 0);
	assert_int_equal(space_claim(&s, TiB / 2, MiB, &e), 1);
	space_scan_end(&s);
	assert_true(space_shared(&s, TiB / 2, 1));
	assert_ok(space_take(&s, MiB, 8 * MiB, &host, &got, &e), &e);
	assert_int_equal(host, 0);
	assert_int_equal(got, 3 * MiB);
	assert_ok(space_take(&s, MiB, 8 * MiB, &host, &got, &e), &e);
	assert_int_equal(host, 4 * MiB);
	assert_int_equal(got, 8 * MiB);
	space_destroy(&s);
}

/* Space that begins in the file and ends past it is space of the file. */
static void claims_move_the_end(void **state)
{
	struct err e = ERR_INIT;
	struct space s;

	(void)state;
	space_init(&s, 0, 512, 4096, TiB);
	assert_ok(space_scan_begin(&s, &e), &e);
	assert_int_equal(space_claim(&s, 8192, 512, &e), 0);
	assert_int_equal(space_claim(&s, 2048, 8192, &e), 1);
	space_scan_end(&s);
	assert_int_equal(space_end(&s), 10240);
	assert_true(space_shared(&s, 8192, 512));
	assert_false(space_shared(&s, 2048, 6144));
	space_destroy(&s);
}

/* What a damaged table claims, and a sparse file has, costs no memory. */
static void extremes_are_refused(void **state)
{
	struct err e = ERR_INIT;
	struct space s;

	(void)state;
	space_init(&s, 0, 512, INT64_MAX / 2, INT64_MAX);
	assert_int_equal(space_scan_begin(&s, &e), -1);
	assert_int_equal(e.kind, ERR_UNSUPPORTED);
	space_destroy(&s);

	err_clear(&e);
	space_init(&s, 0, 512, 4096, TiB);
	assert_ok(space_scan_begin(&s, &e), &e);
	assert_int_equal(space_claim(&s, GiB, TiB / 2, &e), -1);
	assert_int_equal(e.kind, ERR_DAMAGED);
	space_destroy(&s);
}

static void shared_units_are_never_free(void **state)
{
	struct err e = ERR_INIT;
	uint64_t host, got;
	struct space s;

	(void)state;
	space_init(&s, 0, MiB, 2 * MiB, TiB);
	assert_ok(space_scan_begin(&s, &e), &e);
	assert_int_equal(space_claim(&s, 0, 2 * MiB, &e), 0);
	assert_int_equal(space_claim(&s, MiB, MiB, &e), 1);
	space_scan_end(&s);
	space_give(&s, 0, 2 * MiB);
	assert_ok(space_take(&s, MiB, 8 * MiB, &host, &got, &e), &e);
	assert_int_equal(host, 0);
	assert_int_equal(got, MiB);
	space_destroy(&s);
}

static void free_units_are_claimed_and_cut(void **state)
{
	struct err e = ERR_INIT;
	uint64_t host, got;
	struct space s;

	(void)state;
	space_init(&s, 0, MiB, 8 * MiB, TiB);
	space_give(&s, MiB, 3 * MiB);
	space_give(&s, 5 * MiB, MiB);
	assert_int_equal(s.free_n, 4);
	assert_ok(space_claim_free(&s, 2 * MiB, 6 * MiB, &e), &e);
	assert_int_equal(s.free_n, 1);
	assert_ok(space_take(&s, MiB, 4 * MiB, &host, &got, &e), &e);
	assert_int_equal(host, MiB);
	assert_int_equal(got, MiB);
	space_cut(&s, 4 * MiB);
	assert_ok(space_take(&s, MiB, MiB, &host, &got, &e), &e);
	assert_int_equal(host, 4 * MiB);
	space_destroy(&s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(against_array),
	    cmocka_unit_test(without_scan_all_is_owned),
	    cmocka_unit_test(limit_holds),
	    cmocka_unit_test(far_claims_are_passed_by),
	    cmocka_unit_test(claims_move_the_end),
	    cmocka_unit_test(extremes_are_refused),
	    cmocka_unit_test(shared_units_are_never_free),
	    cmocka_unit_test(free_units_are_claimed_and_cut),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
