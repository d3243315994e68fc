/* SPDX-License-Identifier: BSD-3-Clause */
/* Power or host calls fail while a damaged qcow2 image is repaired. */
#include "check.h"
#include "effort.h"
#include "formats/core/units.h"
#include "group.h"
#include "mended.h"
#include "qcow2raw.h"

#define SIZE   (400 * KiB)
#define COPIED (1ull << 63)

/* ---- damage -----------------------------------------------------------------
 */

static uint64_t cluster_at_random(struct hostfile *f, struct rng *r)
{
	uint64_t len = qcow2raw_cluster_len(f);

	return rng_below(r, host_size(f) / len) * len;
}

static void flip(struct hostfile *f, uint64_t host, uint64_t bits)
{
	qcow2raw_put64(f, host, qcow2raw_get64(f, host) ^ bits);
}

/* Version 3, in which the header has the incompatible features. */
static bool is_v3(struct hostfile *f)
{
	return (qcow2raw_get64(f, 0) & UINT32_MAX) >= 3;
}

/* An entry of the first L2 table that is in use. */
static uint64_t entry_at_random(struct hostfile *f, struct rng *r)
{
	bool extended = is_v3(f) && qcow2raw_get64(f, 72) & 16;

	return qcow2raw_l2(f) + (extended ? 16 : 8) * rng_below(r, 6);
}

static void too_high(struct hostfile *f, struct rng *r)
{
	for (unsigned i = 0; i < 6; i++)
		qcow2raw_set_count(f, cluster_at_random(f, r), 7);
}

static void too_low(struct hostfile *f, struct rng *r)
{
	for (unsigned i = 0; i < 6; i++)
		qcow2raw_set_count(f, cluster_at_random(f, r), 0);
}

static void no_block(struct hostfile *f, struct rng *r)
{
	(void)r;
	qcow2raw_put64(f, qcow2raw_reftable(f), 0);
}

static void block_on_data(struct hostfile *f, struct rng *r)
{
	uint64_t data = qcow2raw_get64(f, entry_at_random(f, r));

	qcow2raw_put64(f, qcow2raw_reftable(f), data & ~COPIED);
}

static void block_on_l2(struct hostfile *f, struct rng *r)
{
	(void)r;
	qcow2raw_put64(f, qcow2raw_reftable(f), qcow2raw_l2(f));
}

static void shared(struct hostfile *f, struct rng *r)
{
	uint64_t from = qcow2raw_get64(f, entry_at_random(f, r));

	qcow2raw_put64(f, entry_at_random(f, r), from);
}

static void behind(struct hostfile *f, struct rng *r)
{
	uint64_t len = qcow2raw_cluster_len(f);
	uint64_t end = round_up(host_size(f), len);

	no_block(f, r);
	for (unsigned i = 0; i < 3; i++)
		qcow2raw_put64(f, entry_at_random(f, r),
		    COPIED | (end + len * rng_below(r, 4)));
}

static void flags(struct hostfile *f, struct rng *r)
{
	for (unsigned i = 0; i < 4; i++)
		flip(f, entry_at_random(f, r), COPIED);
	flip(f, qcow2raw_l1(f), COPIED);
}

static void reserved(struct hostfile *f, struct rng *r)
{
	flip(f, entry_at_random(f, r), 1ull << 58);
	flip(f, qcow2raw_l1(f), 1ull << 57);
	too_low(f, r);
}

static void all_of_it(struct hostfile *f, struct rng *r)
{
	too_high(f, r);
	too_low(f, r);
	shared(f, r);
	flags(f, r);
	reserved(f, r);
	if (is_v3(f)) /* dirty, corrupt */
		flip(f, 72, 3);
}

static const struct mended_damage damages[] = {
    {"counts too high, leaks", too_high, IMG_REPAIR_LEAKS},
    {"counts too high", too_high, IMG_REPAIR_ALL},
    {"counts too low", too_low, IMG_REPAIR_ALL},
    {"no block", no_block, IMG_REPAIR_ALL},
    {"block on data", block_on_data, IMG_REPAIR_ALL},
    {"block on an L2 table", block_on_l2, IMG_REPAIR_ALL},
    {"shared", shared, IMG_REPAIR_ALL},
    {"behind the end", behind, IMG_REPAIR_ALL, .stays = true},
    {"flags", flags, IMG_REPAIR_ALL},
    {"reserved bits", reserved, IMG_REPAIR_ALL},
    {"all", all_of_it, IMG_REPAIR_ALL},
};

static const struct mended_scene scenes[] = {
    {"qcow2", "cluster_size=4k", SIZE},
    {"qcow2", "cluster_size=1k", SIZE},
    {"qcow2", "cluster_size=4k,compat=0.10", SIZE},
    {"qcow2", "cluster_size=64k", SIZE},
    {"qcow2", "cluster_size=16k,extended_l2=on", SIZE},
};

static void crashes(void **state)
{
	for (size_t i = 1; i < ARRAY_N(scenes); i++)
		for (uint64_t seed = 1; seed <= EFFORT(3, 1); seed++)
			mended_crashes(&scenes[i], *state, seed);
}

static void faults(void **state)
{
	mended_faults(&scenes[0], *state, EFFORT(1, 7));
}

/* A device cannot grow: the new counts go where there is room. */
static void device(void **state)
{
	struct mended m;
	struct err e = ERR_INIT;
	struct img_check found;

	(void)state;
	mended_begin(&m, &scenes[0], &damages[3], false, 6);
	m.file->fixed_size = true;
	assert_fails(mended_repair(&m, m.file, &found, &e), &e, ENOSPC,
	    "no room for new reference counts");
	m.file->fixed_size = false;
	assert_ok(host_truncate(m.file, host_size(m.file) + 3 * 4096, &e), &e);
	m.file->fixed_size = true;
	assert_ok(mended_repair(&m, m.file, &found, &e), &e);
	assert_int_equal(found.corruptions + found.leaks, 0);
	mended_expect(&m, m.file);
	mended_end(&m);
}

int main(void)
{
	struct group g = {0};

	for (size_t i = 0; i < ARRAY_N(damages); i++) {
		group_add(&g, damages[i].name, crashes, &damages[i]);
		group_add(&g, damages[i].name, faults, &damages[i]);
	}
	group_add(&g, "device", device, NULL);
	return group_run(&g, "repair");
}
