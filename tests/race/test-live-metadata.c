/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Live metadata is never handed out as free space, nor written as data (I4):
 * not in a damaged image, and not while the refcount table moves beside a
 * commit.
 */
#include <stdlib.h>

#include "actor.h"
#include "check.h"
#include "disk.h"
#include "formats/core/units.h"
#include "hold.h"
#include "qcow2raw.h"
#include "tmpdir.h"

#define CLUSTER	  4096u
#define COPIED	  (1ull << 63)
#define ZERO_FLAG 1ull

/* ---- damaged images ------------------------------------------------------ */

typedef uint64_t place(struct hostfile *f);

static uint64_t header_place(struct hostfile *f)
{
	(void)f;
	return 0;
}

static const struct victim {
	const char *name;
	place *place;
} victims[] = {
    {"header", header_place},
    {"L1 table", qcow2raw_l1},
    {"L2 table", qcow2raw_l2},
    {"refcount table", qcow2raw_reftable},
    {"refcount block", qcow2raw_refblock},
};

/* Three clusters of data, closed. */
static struct disk make(const char *options)
{
	struct disk d = disk_new("qcow2", 2 * MiB, options);
	uint8_t buf[CLUSTER];

	for (unsigned i = 0; i < 3; i++) {
		memset(buf, 'a' + (int)i, sizeof buf);
		disk_write(&d, buf, sizeof buf, i * 65536ull);
	}
	disk_close(&d);
	return d;
}

static void open_again(struct disk *d)
{
	disk_reopen_as(d, &(struct img_open){.format = "qcow2",
			      .flags = IMG_O_RDWR | IMG_O_DISCARD});
}

/* Writes are over, reads go on, and closing says that it failed. */
static void expect_failed(struct disk *d)
{
	struct err e = ERR_INIT;
	uint8_t buf[CLUSTER];

	assert_fails(img_pwrite(d->img, "x", 1, 0, 0, &e), &e, EIO, "metadata");
	assert_fails(img_flush(d->img, &e), &e, EIO, "metadata");
	memset(buf, 'b', sizeof buf);
	disk_expect(d, buf, sizeof buf, 65536);
	assert_fails(img_close(d->img, &e), &e, EIO, "metadata");
	d->img = NULL;
}

static void expect_bytes(struct disk *d, const uint8_t *want, uint64_t len)
{
	uint64_t now_len;
	CLEANUP_FREE uint8_t *now = disk_bytes(d, &now_len);

	assert_true(now_len >= len);
	assert_memory_equal(now, want, len);
}

static void count_zero(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_N(victims); i++) {
		struct disk d = make("cluster_size=4k");
		struct err e = ERR_INIT;
		CLEANUP_FREE uint8_t *before = NULL;
		uint64_t len;

		print_message("%s\n", victims[i].name);
		qcow2raw_set_count(d.file, victims[i].place(d.file), 0);
		before = disk_bytes(&d, &len);
		open_again(&d);
		assert_fails(img_pwrite(d.img, "new", 3, MiB, 0, &e), &e, EIO,
		    "reference count 0");
		expect_failed(&d);
		expect_bytes(&d, before, len);
		disk_free(&d);
	}
}

/* An entry says that guest cluster 3 lies on metadata. */
struct lie {
	const char *name, *options;
	unsigned entry_len;
	uint64_t flags, sub;
};

static const struct lie lies[] = {
    {"data", "cluster_size=64k", 8, COPIED, 0},
    {"zeroes with space", "cluster_size=64k", 8, COPIED | ZERO_FLAG, 0},
    {"subclusters", "cluster_size=64k,extended_l2=on", 16, COPIED, 0xff},
    {"zero subclusters", "cluster_size=64k,extended_l2=on", 16, COPIED,
	0xffull << 32},
    {"no subclusters", "cluster_size=64k,extended_l2=on", 16, COPIED, 0},
};

static void write_to(struct disk *d, uint64_t guest)
{
	struct err e = ERR_INIT;
	uint8_t buf[512];

	memset(buf, 0xee, sizeof buf);
	assert_int_equal(img_pwrite(d->img, buf, sizeof buf, guest, 0, &e), -1);
	assert_int_equal(e.errnum, EIO);
}

static void data_on_metadata(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_N(lies) * ARRAY_N(victims); i++) {
		const struct lie *lie = &lies[i / ARRAY_N(victims)];
		const struct victim *v = &victims[i % ARRAY_N(victims)];
		struct disk d = make(lie->options);
		uint64_t host = v->place(d.file), len;
		uint64_t entry = qcow2raw_l2(d.file) + 3 * lie->entry_len;
		CLEANUP_FREE uint8_t *before = NULL;

		print_message("%s, %s\n", v->name, lie->name);
		if (!host) { /* 0 says "no cluster" */
			disk_free(&d);
			continue;
		}
		qcow2raw_put64(d.file, entry, host | lie->flags);
		if (lie->entry_len == 16)
			qcow2raw_put64(d.file, entry + 8, lie->sub);
		before = disk_bytes(&d, &len);
		open_again(&d);
		write_to(&d, 3 * 65536);
		expect_failed(&d);
		expect_bytes(&d, before, len);
		disk_free(&d);
	}
}

/* ---- a table that moves -------------------------------------------------- */

#define MOVING	    "cluster_size=512,refcount_bits=64"
#define MOVING_SIZE (4 * MiB)

/* Guest bytes that can be written before the refcount table must move. */
static uint64_t bytes_before_move(void)
{
	struct disk d = disk_new("qcow2", MOVING_SIZE, MOVING);
	uint64_t first = qcow2raw_reftable(d.file), off;
	struct err e = ERR_INIT;

	for (off = 0; qcow2raw_reftable(d.file) == first; off += 512) {
		disk_write(&d, "x", 1, off);
		assert_ok(img_flush(d.img, &e), &e);
	}
	disk_free(&d);
	return off - 512;
}

static void fill(struct disk *d, uint8_t *want, uint64_t off, uint64_t end)
{
	for (; off < end; off += 512) {
		memset(want + off, 'a' + (int)(off / 512 % 26), 512);
		disk_write(d, want + off, 512, off);
	}
}

/*
 * A commit is held while it writes; meanwhile the refcount table moves, and
 * what space is free is used.  The rest of the commit must harm neither.
 */
static void move_beside_commit(place *held_at)
{
	uint64_t room = bytes_before_move(), end = room + 300 * 512ull;
	uint8_t *want = calloc(1, MOVING_SIZE);
	struct err e = ERR_INIT;
	struct hostfile *f = host_open_memory("disk", 0, &e);
	struct hold h;
	struct disk d =
	    disk_new_on(hold_new(&h, f), "qcow2", MOVING_SIZE, MOVING);
	struct actor flush = {.op = ACT_FLUSH, .img = d.img};
	uint64_t old;

	assert_non_null(want);
	fill(&d, want, 0, room - 300 * 512);
	assert_ok(img_flush(d.img, &e), &e);
	/* The last refcount block is full only later: it changes again. */
	fill(&d, want, room - 300 * 512, room - 20 * 512);
	old = qcow2raw_reftable(d.file);
	if (held_at)
		hold_arm(&h, FAULT_WRITE, held_at(d.file), 512);
	else
		hold_arm(&h, FAULT_WRITE, 0, INT64_MAX);
	actor_start(&flush);
	hold_wait(&h);
	fill(&d, want, room - 20 * 512, end);
	hold_release(&h);
	actor_finish(&flush);
	disk_expect(&d, want, MOVING_SIZE, 0);
	disk_close(&d);
	assert_true(qcow2raw_reftable(d.file) != old);
	disk_check(&d, false);
	disk_reopen(&d, "qcow2");
	disk_expect(&d, want, MOVING_SIZE, 0);
	disk_free(&d);
	free(want);
}

static void commit_writes_counts(void **state)
{
	(void)state;
	move_beside_commit(NULL);
}

static void commit_writes_old_table(void **state)
{
	(void)state;
	move_beside_commit(qcow2raw_reftable);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(count_zero),
	    cmocka_unit_test(data_on_metadata),
	    cmocka_unit_test(commit_writes_counts),
	    cmocka_unit_test(commit_writes_old_table),
	};

	tmpdir_enter();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
