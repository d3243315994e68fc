/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Writers, readers, flushes and trims at the same time.
 *
 * Each writer owns a zone of whole sectors, whose edges lie inside clusters
 * that it shares with its neighbours.  Its operations are numbered; a sector
 * that operation k wrote holds k and its own number, over and over, one that it
 * zeroed holds zeroes.  A reader may find in a sector what the last operation
 * that ended before it began left, or what one left that began before it ended.
 */
#include <stdlib.h>

#include "check.h"
#include "disk.h"
#include "effort.h"
#include "formats/core/units.h"
#include "rng.h"
#include "tmpdir.h"

#define WRITERS	 4u
#define READERS	 2u
#define SECTORS	 4096u /* of the disk */
#define ZONE	 1000u /* of a writer; the rest is churned */
#define ZONE_END (WRITERS * ZONE)
#define STEPS	 EFFORT(1500u, 300u)
#define SPAN_MAX 200u

static const char *const options[] = {
    "cluster_size=512",
    "cluster_size=4k,refcount_bits=1",
    "cluster_size=64k",
    "cluster_size=16k,extended_l2=on",
};

/* What became of a sector: operation numbers of its writer. */
static _Atomic uint32_t begun[SECTORS], done[SECTORS];
static _Atomic unsigned running; /* writers */

struct worker {
	pthread_t thread;
	struct image *img;
	unsigned id;
	struct rng rng;
	uint64_t wrong; /* sector + 1 that a reader found wrong */
	struct err e;
};

/* Each fourth operation of a writer zeroes. */
static bool is_zero(uint32_t op)
{
	return op % 4 == 0;
}

static void fill(uint8_t *buf, uint32_t sector, uint32_t op)
{
	if (is_zero(op)) {
		memset(buf, 0, SECTOR_LEN);
		return;
	}
	for (unsigned i = 0; i < SECTOR_LEN; i += 8) {
		put_be32(buf + i, ~sector);
		put_be32(buf + i + 4, op);
	}
}

/* ---- writers ------------------------------------------------------------- */

static int write_span(struct worker *w, uint32_t op, uint32_t first, uint32_t n)
{
	uint8_t buf[SPAN_MAX * SECTOR_LEN];
	uint64_t off = (uint64_t)first * SECTOR_LEN, len = n * SECTOR_LEN;
	int rc;

	for (uint32_t i = 0; i < n; i++) {
		fill(buf + i * SECTOR_LEN, first + i, op);
		atomic_store(&begun[first + i], op);
	}
	if (is_zero(op))
		rc = img_zero(w->img, len, off,
		    rng_below(&w->rng, 2) ? IMG_MAY_TRIM : 0, &w->e);
	else
		rc = img_pwrite(w->img, buf, len, off, 0, &w->e);
	for (uint32_t i = 0; i < n; i++)
		atomic_store(&done[first + i], op);
	return rc;
}

static void *write_zone(void *arg)
{
	struct worker *w = arg;

	for (uint32_t op = 1; op <= STEPS; op++) {
		uint32_t at = (uint32_t)rng_below(&w->rng, ZONE);
		uint32_t n = 1 + (uint32_t)rng_below(&w->rng, SPAN_MAX);

		n = (uint32_t)min_u64(n, ZONE - at);
		if (write_span(w, op, w->id * ZONE + at, n))
			break;
		if (rng_below(&w->rng, 40) == 0 && img_flush(w->img, &w->e))
			break;
	}
	atomic_fetch_sub(&running, 1);
	return NULL;
}

/* Takes and gives back clusters, so that they change hands. */
static void *churn(void *arg)
{
	struct worker *w = arg;
	uint64_t off = ZONE_END * SECTOR_LEN, size = img_size(w->img);
	uint8_t *buf = calloc(1, size - off);

	if (buf)
		memset(buf, 0xcc, size - off);
	while (buf && atomic_load(&running)) {
		uint64_t at = off + rng_below(&w->rng, size - off);
		uint64_t len = 1 + rng_below(&w->rng, size - at);

		if (img_pwrite(w->img, buf, len, at, 0, &w->e) ||
		    img_trim(w->img, size - off, off, 0, &w->e) ||
		    img_flush(w->img, &w->e))
			break;
	}
	free(buf);
	return NULL;
}

/* ---- readers ------------------------------------------------------------- */

/* May the sector hold this, read after `low` had ended and before any later
 * operation than `high` began? */
static bool allowed(
    const uint8_t *buf, uint32_t sector, uint32_t low, uint32_t high)
{
	uint8_t want[SECTOR_LEN];

	for (uint32_t op = low; op <= high; op++) {
		fill(want, sector, op);
		if (!memcmp(buf, want, sizeof want))
			return true;
	}
	return false;
}

static int read_span(struct worker *w, uint32_t first, uint32_t n)
{
	uint8_t buf[SPAN_MAX * SECTOR_LEN];
	uint32_t low[SPAN_MAX];

	for (uint32_t i = 0; i < n; i++)
		low[i] = atomic_load(&done[first + i]);
	if (img_pread(w->img, buf, (size_t)n * SECTOR_LEN,
		(uint64_t)first * SECTOR_LEN, &w->e))
		return -1;
	for (uint32_t i = 0; i < n; i++)
		if (!allowed(buf + i * SECTOR_LEN, first + i, low[i],
			atomic_load(&begun[first + i])))
			w->wrong = first + i + 1;
	return w->wrong ? -1 : 0;
}

static void *read_zones(void *arg)
{
	struct worker *w = arg;
	int rc = 0;

	while (!rc && atomic_load(&running)) {
		uint32_t at = (uint32_t)rng_below(&w->rng, ZONE_END);
		uint32_t n = 1 + (uint32_t)rng_below(&w->rng, SPAN_MAX);

		rc = read_span(w, at, (uint32_t)min_u64(n, ZONE_END - at));
	}
	return NULL;
}

/* ---- the test ------------------------------------------------------------ */

static void start(struct worker *w, unsigned id, struct image *img)
{
	void *(*work)(void *) = id < WRITERS		 ? write_zone
				: id < WRITERS + READERS ? read_zones
							 : churn;

	*w = (struct worker){
	    .img = img, .id = id, .rng = {id + 1}, .e = ERR_INIT};
	assert_int_equal(pthread_create(&w->thread, NULL, work, w), 0);
}

static void expect_all(struct disk *d)
{
	uint8_t want[SECTOR_LEN];

	for (uint32_t sector = 0; sector < ZONE_END; sector++) {
		fill(want, sector, atomic_load(&done[sector]));
		disk_expect(
		    d, want, sizeof want, (uint64_t)sector * SECTOR_LEN);
	}
}

static void stamps(void **state)
{
	const struct img_open how = {
	    .format = "qcow2", .flags = IMG_O_RDWR | IMG_O_DISCARD};
	struct worker w[WRITERS + READERS + 1];
	struct disk d =
	    disk_new("qcow2", (uint64_t)SECTORS * SECTOR_LEN, *state);

	disk_reopen_as(&d, &how);
	for (unsigned i = 0; i < SECTORS; i++) {
		atomic_store(&begun[i], 0);
		atomic_store(&done[i], 0);
	}
	atomic_store(&running, WRITERS);
	for (unsigned i = 0; i < ARRAY_N(w); i++)
		start(&w[i], i, d.img);
	for (unsigned i = 0; i < ARRAY_N(w); i++) {
		assert_int_equal(pthread_join(w[i].thread, NULL), 0);
		assert_no_error(&w[i].e);
		if (w[i].wrong)
			fail_msg(
			    "sector %u was wrong", (unsigned)w[i].wrong - 1);
	}
	expect_all(&d);
	disk_check(&d, false);
	disk_reopen(&d, "qcow2");
	expect_all(&d);
	disk_free(&d);
}

int main(void)
{
	struct CMUnitTest tests[ARRAY_N(options)];

	tmpdir_enter();
	for (size_t i = 0; i < ARRAY_N(options); i++)
		tests[i] = (struct CMUnitTest){.name = options[i],
		    .test_func = stamps,
		    .initial_state = (void *)(uintptr_t)options[i]};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
