/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * While an image is amended a host call or an allocation fails, each in turn:
 * the handle reads what it did, and what is found then is whole.
 */
#include <stdlib.h>

#include "amended.h"
#include "check.h"
#include "crash.h"
#include "effort.h"
#include "faultfile.h"
#include "formats/core/units.h"
#include "group.h"
#include "hostio.h"
#include "nomem.h"
#include "peer.h"
#include "tmpdir.h"

static const struct way {
	unsigned kinds; /* of host calls; 0: allocations */
	int errnum;
	bool stays;
} ways[] = {
    {FAULT_READ, EIO, false},
    {FAULT_WRITE | FAULT_ZERO, EIO, false},
    {FAULT_SYNC, EIO, false},
    {FAULT_CHANGES & ~FAULT_SYNC, ENOSPC, true},
    {0, 0, false},
};

/* After a failure the handle reads what was there. */
static void look_through(const struct amended *a, struct image *img)
{
	uint64_t size = min_u64(a->old.disk.size, a->new.disk.size);
	CLEANUP_FREE uint8_t *got = malloc(HOLDING_LEN);
	struct err e = ERR_INIT;

	assert_ok(img_pread(img, got, size, 0, &e), &e);
	assert_memory_equal(got, a->old.disk.bytes, size);
}

static void disarm(struct hostfile *f)
{
	faultfile_fail(f, 0, 0, 0, false);
	nomem_arm(0);
}

/* What failed is in *hit. */
static int live(const struct amended *a, struct hostfile *f,
    const struct way *way, const char *step, bool *hit)
{
	struct err e = ERR_INIT;
	struct image *img = amended_open(f, &e);
	int rc;

	*hit = way->kinds ? faultfile_hit(f) : nomem_hit();
	if (!img)
		return -1;
	rc = amended_step(img, step, &e);
	*hit = way->kinds ? faultfile_hit(f) : nomem_hit();
	if (rc) {
		disarm(f);
		look_through(a, img);
	}
	if (img_close(img, &e))
		rc = -1;
	*hit |= way->kinds ? faultfile_hit(f) : nomem_hit();
	return rc;
}

/* False when there was no Nth call. */
static bool fault(struct amended *a, struct hostfile *from, const char *step,
    const struct way *way, uint64_t nth)
{
	struct err e = ERR_INIT;
	struct hostfile *under = host_open_memory("fault", 0, &e), *f;
	bool hit;
	int rc;

	assert_ok(hostio_copy(under, from, &e), &e);
	f = faultfile_new(host_ref(under), &e);
	assert_no_error(&e);
	if (way->kinds)
		faultfile_fail(f, way->kinds, nth, way->errnum, way->stays);
	else
		nomem_arm(nth);
	rc = live(a, f, way, step, &hit);
	disarm(f);
	assert_true(hit || !rc);
	host_put(f);
	amended_judge(a, under);
	return hit;
}

static void one_step(struct amended *a, struct hostfile *f, const char *step)
{
	struct err e = ERR_INIT;
	struct image *img;

	amended_begin(a, step, f);
	for (size_t i = 0; i < ARRAY_N(ways); i++) {
		uint64_t nth = 1;

		while (fault(a, f, step, &ways[i], nth))
			nth += 1 + nth / EFFORT(12, 3);
		assert_true(nth > 1);
	}
	print_message("%s: %u images\n", step, a->image_n);
	img = amended_open(f, &e);
	assert_no_error(&e);
	assert_ok(amended_step(img, step, &e), &e);
	assert_ok(img_close(img, &e), &e);
	amended_done(a);
}

static void faults(void **state)
{
	struct amended a = {.scene = *state, .peer_each = 25};
	struct err e = ERR_INIT;
	struct crashfile *c = crashfile_new(&e);
	struct hostfile *f;

	assert_no_error(&e);
	crash_create(c, "qcow2", a.scene->size, a.scene->options,
	    a.scene->overlay ? "base" : NULL);
	f = crashfile_host(c);
	amended_start(&a, f);
	for (unsigned i = 0; i < AMENDED_STEPS && a.scene->step[i]; i++)
		one_step(&a, f, a.scene->step[i]);
	host_put(f);
	amended_end(&a);
	crashfile_free(c);
}

int main(void)
{
	struct group g = {0};

	peer_needs("qemu-img");
	tmpdir_enter();
	amended_make_base();
	for (size_t i = 0; i < amended_scene_n; i++)
		group_add(
		    &g, amended_scenes[i].options, faults, &amended_scenes[i]);
	return group_run(&g, "fault-amend");
}
