/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Power fails, or a host call does, while a disk is written and its snapshots
 * and its size change.  What is found has the state before or after the change,
 * with all snapshots and their VM state; what was flushed is there; leaks are
 * the worst that our check and qemu-img's see.
 */
#include <stdlib.h>

#include "admin.h"
#include "check.h"
#include "effort.h"
#include "faultfile.h"
#include "formats/core/units.h"
#include "group.h"
#include "hostio.h"
#include "peer.h"
#include "tmpdir.h"

#define STEPS  24u
#define IMAGES 4u /* at each sync */

static const struct admin_scene scenes[] = {
    {"cluster_size=512", 256 * KiB, true, false},
    {"cluster_size=512,refcount_bits=64", 300 * KiB, false, false},
    {"cluster_size=1k,refcount_bits=4", 256 * KiB, true, false},
    {"cluster_size=4k,compat=0.10", 500 * KiB, false, true},
    {"cluster_size=16k,extended_l2=on,refcount_bits=32", 400 * KiB, false,
	false},
    {"cluster_size=64k,refcount_bits=8", 700 * KiB, false, false},
    {"cluster_size=1536", 200 * KiB, false, false, "parallels"},
    {"cluster_size=4k", 12 * KiB, false, false, "parallels"},
    {"static=off", 16 * KiB, false, false, "vdi"},
    {"cluster_size=4k,table_size=2", 256 * KiB, .format = "qed",
	.no_prealloc = true},
    {"encryption=off", 256 * KiB, .format = "qcow", .no_prealloc = true},
    {"force_size=on", 16 * KiB, .format = "vpc", .no_prealloc = true},
    {"zeroed_grain=on", 256 * KiB, .format = "vmdk", .no_prealloc = true},
};

static void make(struct admin *w)
{
	const struct admin_scene *s = w->scene;
	struct err e = ERR_INIT;

	w->crash = crashfile_new(&e);
	assert_no_error(&e);
	crash_create(w->crash, admin_format(s), s->size, s->options, NULL);
	w->file = crashfile_host(w->crash);
	crash_small_blocks(w->file, admin_format(s), s->size);
	admin_start(w);
}

/* ---- crashes ------------------------------------------------------------- */

static void look(void *arg, uint64_t seed)
{
	struct admin *w = arg;
	struct err e = ERR_INIT;
	struct hostfile *f = crashfile_image(w->crash, seed, &e);

	assert_no_error(&e);
	admin_judge(w, f);
}

static void crashes(void **state)
{
	struct err e = ERR_INIT;

	for (uint64_t seed = 1; seed <= EFFORT(3, 1); seed++) {
		struct admin w = {.scene = *state, .rng = {.state = seed}};
		struct crash_watch watch = {IMAGES, look, &w};

		make(&w);
		crash_watch(w.crash, &watch);
		for (unsigned i = 0; i < 2; i++) {
			admin_open(&w, &e);
			for (unsigned k = 0; k < STEPS; k++)
				admin_step(&w);
			assert_ok(img_close(w.img, &e), &e);
			admin_settle(&w);
		}
		crashfile_on_sync(w.crash, NULL, NULL);
		print_message("%u images, %u changes\n", w.image_n, w.change_n);
		assert_true(w.change_n > 5);
		admin_end(&w);
		crashfile_free(w.crash);
	}
}

/* ---- faults -------------------------------------------------------------- */

static const struct way {
	unsigned kinds;
	int errnum;
	bool stays;
} ways[] = {
    {FAULT_READ, EIO, false},
    {FAULT_WRITE | FAULT_ZERO, EIO, false},
    {FAULT_SYNC, EIO, false},
    {FAULT_CHANGES & ~FAULT_SYNC, ENOSPC, true},
};

/* After a failure the handle reads what was there, or what was to be. */
static void look_through(struct admin *w)
{
	const struct holding_disk *a = &w->now.disk, *b = &w->next.disk;
	CLEANUP_FREE uint8_t *got = malloc(HOLDING_LEN);
	struct err e = ERR_INIT;
	uint64_t size = img_size(w->img);

	assert_true(size == a->size || (w->changing && size == b->size));
	assert_ok(img_pread(w->img, got, size, 0, &e), &e);
	if (w->changing)
		size = min_u64(size, min_u64(a->size, b->size));
	for (uint64_t at = 0; at < size; at += SECTOR_LEN)
		assert_true(!memcmp(got + at, a->bytes + at, SECTOR_LEN) ||
			    !memcmp(got + at, w->flushed + at, SECTOR_LEN) ||
			    (w->changing &&
				!memcmp(got + at, b->bytes + at, SECTOR_LEN)));
}

/* Some of everything, until something fails. */
static int live(struct admin *w)
{
	struct err e = ERR_INIT;
	int rc = 0;

	admin_open(w, &e);
	if (!w->img)
		return -1;
	for (unsigned i = 0; !rc && i < 10; i++)
		rc = i % 2 ? admin_change(w) : admin_write(w);
	w->hit = faultfile_hit(w->file);
	if (rc) {
		faultfile_fail(w->file, 0, 0, 0, false);
		look_through(w);
	}
	if (img_close(w->img, &e))
		rc = -1;
	else if (!rc)
		admin_settle(w);
	return rc;
}

/* False when there was no Nth call. */
static bool fault(const struct admin *from, const struct way *way, uint64_t nth)
{
	struct admin w = *from;
	struct err e = ERR_INIT;
	struct hostfile *under = host_open_memory("fault", 0, &e);
	bool hit;
	int rc;

	assert_ok(hostio_copy(under, from->file, &e), &e);
	w.file = faultfile_new(host_ref(under), &e);
	assert_no_error(&e);
	w.now = w.next = (struct holding){0};
	holding_copy(&w.now, &from->now);
	holding_copy(&w.next, &from->now);
	w.flushed = calloc(1, HOLDING_LEN);
	w.round = calloc(1, HOLDING_LEN / SECTOR_LEN);
	admin_settle(&w);
	faultfile_fail(w.file, way->kinds, nth, way->errnum, way->stays);
	rc = live(&w);
	hit = w.hit || faultfile_hit(w.file);
	assert_true(hit || !rc);
	admin_judge(&w, under);
	admin_end(&w);
	return hit;
}

static void faults(void **state)
{
	struct admin w = {.scene = *state, .rng = {.state = 5}};

	make(&w);
	w.must = false;
	for (size_t i = 0; i < ARRAY_N(ways); i++) {
		uint64_t nth = 1;

		while (fault(&w, &ways[i], nth))
			nth += EFFORT(5, 23);
		assert_true(nth > 1);
	}
	admin_end(&w);
	crashfile_free(w.crash);
}

int main(void)
{
	struct group g = {0};

	peer_needs("qemu-img");
	tmpdir_enter();
	for (size_t i = 0; i < ARRAY_N(scenes); i++) {
		group_add(&g, scenes[i].options, crashes, &scenes[i]);
		group_add(&g, scenes[i].options, faults, &scenes[i]);
	}
	return group_run(&g, "admin");
}
