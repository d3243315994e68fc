/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Power or host calls fail while a damaged image is repaired whose format has
 * one table, or a directory and tables: all that check -r knows but qcow2, for
 * which see test-repair.c.
 */
#include <stdio.h>

#include "check.h"
#include "effort.h"
#include "formats/core/units.h"
#include "group.h"
#include "mended.h"

/* ---- tables -----------------------------------------------------------------
 */

/* The entries that map the start of the disk. */
struct entries {
	uint64_t host;
	unsigned len;  /* bytes of each */
	bool big;      /* big-endian */
	uint64_t none; /* what says that there is nothing */
	uint64_t
	    again; /* a second table, from which the first is mended, or 0 */
};

static uint64_t get(struct hostfile *f, uint64_t host, unsigned len, bool big)
{
	struct err e = ERR_INIT;
	uint8_t p[8];

	assert_ok(host_pread(f, p, len, host, &e), &e);
	if (len == 4)
		return big ? be32(p) : le32(p);
	return big ? be64(p) : le64(p);
}

static void put(
    struct hostfile *f, const struct entries *t, uint64_t ix, uint64_t value)
{
	struct err e = ERR_INIT;
	uint8_t p[8];

	if (t->len == 4 && t->big)
		put_be32(p, (uint32_t)value);
	else if (t->len == 4)
		put_le32(p, (uint32_t)value);
	else if (t->big)
		put_be64(p, value);
	else
		put_le64(p, value);
	assert_ok(host_pwrite(f, p, t->len, t->host + ix * t->len, &e), &e);
	if (t->again)
		assert_ok(
		    host_pwrite(f, p, t->len, t->again + ix * t->len, &e), &e);
}

static struct entries vhdx_entries(struct hostfile *f)
{
	static const uint8_t bat[4] = {0x66, 0x77, 0xc2, 0x2d};
	const uint64_t table = 192 * KiB;
	struct err e = ERR_INIT;
	uint8_t p[32];

	for (uint64_t at = table + 16;; at += sizeof p) {
		assert_true(at < table + 64 * KiB);
		assert_ok(host_pread(f, p, sizeof p, at, &e), &e);
		if (!memcmp(p, bat, sizeof bat))
			return (struct entries){.host = le64(p + 16), .len = 8};
	}
}

/* The first one of the directory that this field of a VMDK header names. */
static uint64_t grain_table(struct hostfile *f, uint64_t field)
{
	return get(f, get(f, field, 8, false) * SECTOR_LEN, 4, false) *
	       SECTOR_LEN;
}

static struct entries entries_of(struct hostfile *f)
{
	struct err e = ERR_INIT;
	uint8_t p[8];

	assert_ok(host_pread(f, p, sizeof p, 0, &e), &e);
	if (!memcmp(p, "QED", 4))
		return (struct entries){
		    .host = get(f, get(f, 40, 8, false), 8, false), .len = 8};
	if (!memcmp(p, "QFI\xfb", 4))
		return (struct entries){
		    .host = get(f, get(f, 40, 8, true), 8, true),
		    .len = 8,
		    .big = true};
	if (!memcmp(p, "KDMV", 4))
		return (struct entries){.host = grain_table(f, 56),
		    .len = 4,
		    .again = grain_table(f, 48)};
	if (!memcmp(p, "conectix", 8))
		return (struct entries){.host = get(f, 512 + 16, 8, true),
		    .len = 4,
		    .big = true,
		    .none = UINT32_MAX};
	if (!memcmp(p, "vhdxfile", 8))
		return vhdx_entries(f);
	if (!memcmp(p, "With", 4))
		return (struct entries){.host = 64, .len = 4};
	return (struct entries){
	    .host = get(f, 340, 4, false), .len = 4, .none = UINT32_MAX};
}

/* ---- damage -----------------------------------------------------------------
 */

#define USED_N 6u /* entries at the start that have data, at least */

static uint64_t at_random(struct rng *r)
{
	return rng_below(r, USED_N);
}

/* Two and three of the disk's blocks have one place. */
static void shared(struct hostfile *f, struct rng *r)
{
	struct entries t = entries_of(f);

	for (unsigned i = 0; i < 3; i++) {
		uint64_t from = t.host + at_random(r) * t.len;

		put(f, &t, at_random(r), get(f, from, t.len, t.big));
	}
}

/* An entry points far behind the end. */
static void behind(struct hostfile *f, struct rng *r)
{
	struct entries t = entries_of(f);
	uint64_t ix = at_random(r);
	uint64_t was = get(f, t.host + ix * t.len, t.len, t.big);

	put(f, &t, ix, was + (t.len == 4 ? 1u << 20 : 1ull << 32));
}

/* What they had is nobody's. */
static void lost(struct hostfile *f, struct rng *r)
{
	struct entries t = entries_of(f);

	for (unsigned i = 0; i < 3; i++)
		put(f, &t, at_random(r), t.none);
}

/* Into the header, or between two places.  What a VMDK reads there, it does not
 * after a repair. */
static void senseless(struct hostfile *f, struct rng *r)
{
	struct entries t = entries_of(f);

	if (!t.again)
		put(f, &t, at_random(r), t.len == 4 ? 1 : 512 + 7);
}

static void all_of_it(struct hostfile *f, struct rng *r)
{
	shared(f, r);
	lost(f, r);
	behind(f, r);
	shared(f, r);
	senseless(f, r);
}

static const struct mended_damage damages[] = {
    {"shared", shared, IMG_REPAIR_ALL},
    {"behind the end", behind, IMG_REPAIR_ALL},
    {"lost", lost, IMG_REPAIR_ALL},
    {"lost, leaks", lost, IMG_REPAIR_LEAKS},
    {"senseless", senseless, IMG_REPAIR_ALL},
    {"all", all_of_it, IMG_REPAIR_ALL},
};

/* ---- the tests --------------------------------------------------------------
 */

static const struct mended_scene scenes[] = {
    {"vdi", NULL, 400 * KiB},
    {"vpc", "force_size=on", 400 * KiB},
    {"parallels", "cluster_size=4k", 400 * KiB},
    {"qed", "cluster_size=4k,table_size=1", 400 * KiB},
    {"qcow", NULL, 400 * KiB},
    {"vmdk", NULL, 700 * KiB},
    {"vhdx", "block_size=1M", 7 * MiB},
};

struct test {
	char name[64];
	const struct mended_scene *scene;
	const struct mended_damage *damage;
};

static void crashes(void **state)
{
	const struct test *t = *state;

	for (uint64_t seed = 1; seed <= EFFORT(3, 1); seed++)
		mended_crashes(t->scene, t->damage, seed);
}

static void faults(void **state)
{
	const struct test *t = *state;

	mended_faults(t->scene, t->damage, EFFORT(1, 7));
}

int main(void)
{
	static struct test t[ARRAY_N(scenes) * ARRAY_N(damages)];
	struct group g = {0};

	for (size_t i = 0; i < ARRAY_N(t); i++) {
		t[i].scene = &scenes[i / ARRAY_N(damages)];
		t[i].damage = &damages[i % ARRAY_N(damages)];
		snprintf(t[i].name, sizeof t[i].name, "%s, %s",
		    t[i].scene->format, t[i].damage->name);
		group_add(&g, t[i].name, crashes, &t[i]);
		group_add(&g, t[i].name, faults, &t[i]);
	}
	return group_run(&g, "mend");
}
