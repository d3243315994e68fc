/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The model of a power failure.  Every write stamps its sectors with its own
 * number, so that the origin of each sector of a crash image can be seen.
 */
#include <stdlib.h>

#include "check.h"
#include "crashfile.h"
#include "formats/core/units.h"
#include "rng.h"

#define SECTOR_N 64u
#define WRITE_N	 12u
#define SEED_N	 400u

static struct crashfile *crash;
static struct hostfile *host;

static int setup(void **state)
{
	struct err e = ERR_INIT;

	(void)state;
	crash = crashfile_new(&e);
	assert_no_error(&e);
	host = crashfile_host(crash);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	host_put(host);
	crashfile_free(crash);
	return 0;
}

static void stamp(uint64_t serial, uint64_t sector, uint64_t n)
{
	uint64_t buf[SECTOR_N * SECTOR_LEN / 8];
	struct err e = ERR_INIT;

	for (uint64_t i = 0; i < n * SECTOR_LEN / 8; i++)
		buf[i] = serial;
	assert_ok(
	    host_pwrite(host, buf, n * SECTOR_LEN, sector * SECTOR_LEN, &e),
	    &e);
}

static void sync_host(void)
{
	struct err e = ERR_INIT;

	assert_ok(host_sync(host, &e), &e);
}

/* Who wrote each sector of a crash image?  0: nobody.  Returns its size. */
static uint64_t origins(uint64_t seed, uint64_t serial[SECTOR_N])
{
	struct err e = ERR_INIT;
	struct hostfile *f = crashfile_image(crash, seed, &e);
	uint64_t size, word[SECTOR_LEN / 8];

	assert_no_error(&e);
	size = host_size(f);
	for (unsigned s = 0; s < SECTOR_N; s++) {
		assert_ok(
		    host_pread(f, word, SECTOR_LEN, s * SECTOR_LEN, &e), &e);
		serial[s] = word[0];
		for (unsigned i = 1; i < ARRAY_N(word); i++)
			assert_int_equal(word[i], word[0]);
	}
	host_put(f);
	return size;
}

/* Which writes touched each sector: bit 0 is nobody's. */
struct history {
	uint32_t may[SECTOR_N];	   /* what a crash may leave there now */
	uint64_t last[SECTOR_N];   /* what a program sees there        */
	uint64_t synced[SECTOR_N]; /* what it saw at the last sync     */
};

static void history_synced(struct history *h)
{
	sync_host();
	memcpy(h->synced, h->last, sizeof h->synced);
	for (unsigned s = 0; s < SECTOR_N; s++)
		h->may[s] = 1u << h->last[s];
}

static void history_write(struct history *h, struct rng *r, unsigned serial)
{
	uint64_t s = rng_below(r, SECTOR_N);
	uint64_t n = 1 + rng_below(r, SECTOR_N - s);

	if (rng_below(r, 4)) {
		stamp(serial, s, n);
	} else {
		struct err e = ERR_INIT;

		assert_ok(host_zero(host, s * SECTOR_LEN, n * SECTOR_LEN,
			      HOST_ZERO_PUNCH, &e),
		    &e);
		serial = 0;
	}
	for (; n--; s++) {
		h->may[s] |= 1u << serial;
		h->last[s] = serial;
	}
}

/* Every sector of every image is old or new; the two extremes are exact. */
static void sectors(void **state)
{
	struct history h = {.may = {0}};
	struct rng r = {7};
	uint64_t got[SECTOR_N];

	(void)state;
	for (unsigned serial = 1; serial <= 2 * WRITE_N; serial++) {
		if (serial % WRITE_N == 1)
			history_synced(&h);
		history_write(&h, &r, serial);
	}
	origins(0, got);
	assert_memory_equal(got, h.synced, sizeof got);
	origins(1, got);
	assert_memory_equal(got, h.last, sizeof got);
	for (uint64_t seed = 2; seed < SEED_N; seed++) {
		origins(seed, got);
		for (unsigned s = 0; s < SECTOR_N; s++)
			assert_true(h.may[s] & 1u << got[s]);
	}
	history_synced(&h);
	assert_int_equal(crashfile_pending(crash), 0);
	origins(5, got);
	assert_memory_equal(got, h.last, sizeof got);
}

static bool all(
    const uint64_t *got, unsigned from, unsigned to, uint64_t serial)
{
	for (unsigned s = from; s < to; s++)
		if (got[s] != serial)
			return false;
	return true;
}

/* What tests rely on does happen: losses, reordering, tearing, of the size. */
static void variety(void **state)
{
	unsigned lost = 0, torn = 0, newer_only = 0, older_only = 0, over = 0;
	unsigned shorter = 0;
	uint64_t got[SECTOR_N], again[SECTOR_N];

	(void)state;
	stamp(1, 0, 8);
	sync_host();
	stamp(2, 0, 8);
	stamp(3, 4, 8);
	stamp(4, 12, 8);
	for (uint64_t seed = 0; seed < SEED_N; seed++) {
		uint64_t size = origins(seed, got);

		assert_true(is_aligned(size, SECTOR_LEN));
		assert_int_equal(origins(seed, again), size);
		assert_memory_equal(got, again, sizeof got);
		lost += all(got, 0, 8, 1) && all(got, 8, 20, 0);
		torn += got[12] != got[19];
		newer_only += all(got, 0, 8, 1) && all(got, 12, 20, 4);
		older_only += all(got, 0, 8, 2) && all(got, 8, 20, 0);
		over += all(got, 0, 8, 2) && all(got, 8, 12, 3);
		shorter += size == 8 * SECTOR_LEN;
	}
	assert_in_range(lost, 5, SEED_N / 2);
	assert_in_range(torn, 5, SEED_N / 2);
	assert_in_range(newer_only, 5, SEED_N / 2);
	assert_in_range(older_only, 5, SEED_N / 2);
	assert_in_range(over, 5, SEED_N / 2);
	assert_in_range(shorter, 5, SEED_N / 2);
}

/* What was cut off does not come back when the file grows again. */
static void size_order(void **state)
{
	unsigned cut = 0, regrown = 0, uncut = 0, kept = 0;
	uint64_t got[SECTOR_N];
	struct err e = ERR_INIT;

	(void)state;
	stamp(1, 0, 16);
	sync_host();
	stamp(2, 0, 4);
	assert_ok(host_truncate(host, 0, &e), &e);
	assert_ok(host_truncate(host, 16ull * SECTOR_LEN, &e), &e);
	stamp(3, 8, 4);
	for (uint64_t seed = 0; seed < SEED_N; seed++) {
		uint64_t size = origins(seed, got);

		if (got[15] == 0) {
			assert_int_equal(got[0], 0);
			cut += size < 16 * SECTOR_LEN;
			regrown += size == 16 * SECTOR_LEN;
		} else {
			assert_int_equal(size, 16 * SECTOR_LEN);
			uncut++;
			kept += got[8] == 3;
		}
	}
	assert_in_range(cut, 5, SEED_N);
	assert_in_range(regrown, 5, SEED_N);
	assert_in_range(uncut, 5, SEED_N);
	assert_in_range(kept, 5, SEED_N);
}

struct seen {
	unsigned calls, last;
	size_t pending;
	bool write;
};

static void on_sync(void *arg, struct crashfile *c, unsigned barrier)
{
	struct seen *s = arg;

	s->calls++;
	s->last = barrier;
	s->pending = crashfile_pending(c);
	if (s->write)
		stamp(9, 9, 1);
}

static void barriers(void **state)
{
	struct seen s = {0};
	uint64_t got[SECTOR_N];

	(void)state;
	sync_host();
	crashfile_on_sync(crash, on_sync, &s);
	stamp(1, 0, 1);
	stamp(2, 1, 1);
	sync_host();
	assert_int_equal(s.calls, 1);
	assert_int_equal(s.last, 1);
	assert_int_equal(s.pending, 2);
	assert_int_equal(crashfile_pending(crash), 0);
	assert_int_equal(crashfile_barriers(crash), 2);

	/* What comes while a sync runs is not covered by it. */
	s.write = true;
	stamp(3, 0, 1);
	sync_host();
	assert_int_equal(crashfile_pending(crash), 1);
	origins(0, got);
	assert_int_equal(got[0], 3);
	assert_int_equal(got[9], 0);
}

/* Memory follows what is written, not the size. */
static void sparse(void **state)
{
	const uint64_t far = 1ull << 60;
	struct err e = ERR_INIT;
	struct host_extent x;
	struct hostfile *f;
	uint8_t byte = 1;

	(void)state;
	assert_ok(host_pwrite(host, &byte, 1, far, &e), &e);
	assert_ok(host_zero(host, 5, far - 5, HOST_ZERO_PUNCH, &e), &e);
	assert_ok(host_map(host, 0, far, &x, &e), &e);
	assert_true(x.hole);
	assert_int_equal(x.len, far);
	for (uint64_t seed = 0; seed < 20; seed++) {
		f = crashfile_image(crash, seed, &e);
		assert_no_error(&e);
		assert_true(host_size(f) <= far + 1);
		assert_in_range(host_disk_len(f), 0, 2 * 65536);
		host_put(f);
	}
	sync_host();
	f = crashfile_image(crash, 0, &e);
	assert_no_error(&e);
	byte = 0;
	assert_ok(host_pread(f, &byte, 1, far, &e), &e);
	assert_int_equal(byte, 1);
	host_put(f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(sectors, setup, teardown),
	    cmocka_unit_test_setup_teardown(variety, setup, teardown),
	    cmocka_unit_test_setup_teardown(size_order, setup, teardown),
	    cmocka_unit_test_setup_teardown(barriers, setup, teardown),
	    cmocka_unit_test_setup_teardown(sparse, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
