/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Host calls and allocations that fail (I5): open, random operations, close,
 * with the Nth one failing, for N = 1, 2, ... until there is no Nth.  The error
 * is reported, what else the disk holds is unharmed, now and when it is opened
 * again, and all that a flush said is durable is there.
 *
 * FAULT_SEED changes the run; FAULT_ONLY picks scenes; FAULT_STRIDE (1: every
 * N) how many N are passed over.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <unistd.h>

#include "check.h"
#include "crash.h"
#include "disk.h"
#include "effort.h"
#include "faultfile.h"
#include "formats/core/units.h"
#include "group.h"
#include "hostio.h"
#include "nomem.h"
#include "peer.h"
#include "scene.h"
#include "script.h"
#include "tmpdir.h"

#define STEPS	   40u
#define STRIDE	   EFFORT(3u, 13u)
#define PEER_EVERY 200u

static const struct way {
	const char *name;
	unsigned kinds; /* FAULT_*; 0: an allocation */
	int errnum;
	bool stays;
	bool reported; /* a call that fails must be heard of */
} ways[] = {
    {"read", FAULT_READ, EIO, false, true},
    {"write", FAULT_WRITE, EIO, false, true},
    {"write, for good", FAULT_WRITE, EIO, true, true},
    {"sync", FAULT_SYNC, EIO, false, true},
    {"zero", FAULT_ZERO, EIO, false, true},
    {"other", FAULT_TRUNCATE | FAULT_PUNCH | FAULT_MAP, EIO, false, false},
    {"no space", FAULT_WRITE | FAULT_TRUNCATE | FAULT_ZERO | FAULT_ALLOCATE,
	ENOSPC, true, true},
    {"memory", 0, ENOMEM, false, false},
};

/* One run. */
struct run {
	const struct scene *scene;
	const struct way *way;
	uint64_t nth;
	struct hostfile *under, *f;
	struct ledger ledger;
	struct rng rng;
	bool reported;
};

static uint64_t from_env(const char *name, uint64_t otherwise)
{
	const char *text = getenv(name);

	return text ? strtoull(text, NULL, 0) : otherwise;
}

static void must(struct run *r, const char *what, bool ok, struct err *e)
{
	if (!ok)
		fail_msg("%s: %s %" PRIu64 ": %s: %s", r->scene->name,
		    r->way->name, r->nth, what, e->msg);
}

static struct image *open_image(
    struct run *r, struct hostfile *f, unsigned flags, struct err *e)
{
	const struct img_open how = {
	    .format = r->scene->format, .flags = flags};

	return img_open_host(host_ref(f), &how, e);
}

/* Nothing but what a failed operation meant may have changed.  What is there
 * now counts from here on. */
static void check_disk(struct run *r, struct image *img, const char *when)
{
	struct err e = ERR_INIT;
	CLEANUP_FREE uint8_t *buf = script_read(img, &e);
	uint64_t bad = 0;

	must(r, when, buf, &e);
	if (ledger_settle(&r->ledger, buf, 0, r->ledger.sector_n, &bad))
		return;
	err_damaged(&e, "sector %" PRIu64 " is wrong", bad);
	must(r, when, false, &e);
}

/* The operations; errors are noted, and the rest goes on. */
static void operate(struct run *r, struct image *img)
{
	struct script s = {.img = img,
	    .ledger = &r->ledger,
	    .rng = &r->rng,
	    .version = LEDGER_BASE,
	    .stride = 1};

	for (unsigned i = 0; i < STEPS; i++) {
		struct err e = ERR_INIT;

		if (!script_step(&s, &e))
			continue;
		r->reported = true;
		must(r, "errno", e.errnum == r->way->errnum || e.errnum == EIO,
		    &e);
		check_disk(r, img, "after the failure");
	}
}

static bool was_hit(const struct run *r)
{
	return r->way->kinds ? faultfile_hit(r->f) : nomem_hit();
}

static void live(struct run *r)
{
	struct err e = ERR_INIT;
	struct image *img;

	if (r->way->kinds)
		faultfile_fail(
		    r->f, r->way->kinds, r->nth, r->way->errnum, r->way->stays);
	else
		nomem_arm(r->nth);
	img = open_image(r, r->f, IMG_O_RDWR | r->scene->flags, &e);
	if (img) {
		operate(r, img);
		if (img_close(img, &e))
			r->reported = true;
	} else {
		r->reported = true;
	}
	err_clear(&e);
	if (was_hit(r) && r->way->reported)
		must(r, "not reported", r->reported, &e);
	if (!was_hit(r))
		must(r, "failed without a fault", !r->reported, &e);
}

static void check_image(struct run *r, bool peer)
{
	struct disk d = {.file = r->under};
	struct err e = ERR_INIT;
	struct img_check found = {0};
	char out[1024];
	int rc;

	d.img = open_image(r, r->under, IMG_O_CHECK, &e);
	must(r, "open for check", d.img, &e);
	if (img_check(d.img, &found, NULL, NULL, &e) && e.errnum == ENOTSUP)
		err_clear(&e);
	must(r, "check", !err_is_set(&e), &e);
	assert_true(found.corruptions <= crash_unclosed_n(r->scene->format));
	assert_int_equal(found.check_errors, 0);
	disk_close(&d);
	if (!peer)
		return;
	must(r, "save", !hostio_save(r->under, "fault.img", &e), &e);
	rc = peer_check_leaky("fault.img", r->scene->format, out, sizeof out);
	unlink("fault.img");
	if (rc)
		fail_msg("%s: %s %" PRIu64 ": qemu-img check: %s",
		    r->scene->name, r->way->name, r->nth, out);
}

static void afterwards(struct run *r)
{
	struct err e = ERR_INIT;
	struct image *img = open_image(r, r->under, 0, &e);

	must(r, "open again", img, &e);
	check_disk(r, img, "afterwards");
	img_drop(img);
	check_image(r, r->nth % PEER_EVERY == 1);
}

/* False when there was no Nth call. */
static bool run_once(const struct scene *scene, const struct way *way,
    uint64_t nth, struct hostfile *template, const uint8_t *base)
{
	struct run r = {.scene = scene,
	    .way = way,
	    .nth = nth,
	    .rng = {from_env("FAULT_SEED", 1)}};
	struct err e = ERR_INIT;
	bool hit;

	r.under = host_open_memory("fault", 0, &e);
	assert_no_error(&e);
	assert_ok(hostio_copy(r.under, template, &e), &e);
	r.f = faultfile_new(host_ref(r.under), &e);
	assert_no_error(&e);
	ledger_init(&r.ledger, scene->size / LEDGER_SECTOR, base);
	live(&r);
	hit = was_hit(&r);
	nomem_arm(0);
	afterwards(&r);
	ledger_free(&r.ledger);
	host_put(r.f);
	host_put(r.under);
	return hit;
}

static void fault(void **state)
{
	const struct scene *scene = *state;
	uint64_t stride = from_env("FAULT_STRIDE", STRIDE), n = 0;
	struct err e = ERR_INIT;
	struct hostfile *template = host_open_memory("template", 0, &e);
	uint8_t *base;

	assert_no_error(&e);
	base = scene_make(scene, template, 1);
	for (size_t i = 0; i < ARRAY_N(ways); i++) {
		/* The first calls open the image: each of them. */
		uint64_t nth = 1;

		while (run_once(scene, &ways[i], nth, template, base)) {
			nth += nth < 8 ? 1 : stride;
			n++;
		}
	}
	print_message("%" PRIu64 " faults\n", n);
	assert_true(n > EFFORT(50, 20));
	host_put(template);
	free(base);
}

int main(void)
{
	const char *only = getenv("FAULT_ONLY");
	struct group g = {0};

	peer_needs("qemu-img");
	peer_needs("qemu-io");
	tmpdir_enter();
	for (size_t i = 0; i < scene_n; i++) {
		const struct scene *s = &scenes[i];

		if (scene_can_run(s) && (!only || strstr(s->name, only)))
			group_add(&g, s->name, fault, s);
	}
	return group_run(&g, "fault");
}
