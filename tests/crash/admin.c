/* SPDX-License-Identifier: BSD-3-Clause */
/* An image under administration: see admin.h. */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "admin.h"
#include "check.h"
#include "formats/core/units.h"
#include "hostio.h"
#include "peer.h"

#define DISK_LEN_MAX (HOLDING_LEN / 2)
#define PEER	     40u /* every so many images */
#define GO_ON	     11u

/* ---- what is found ------------------------------------------------------- */

static void check_by_peer(const struct admin *w, struct hostfile *f)
{
	struct err e = ERR_INIT;
	char out[65536];
	int rc;

	assert_ok(hostio_save(f, "admin.img", &e), &e);
	rc = peer_check_leaky(
	    "admin.img", admin_format(w->scene), out, sizeof out);
	if (rc)
		fail_msg("qemu-img check: %s", out);
	unlink("admin.img");
}

/* It can be written, and all kinds of changes be made. */
static void go_on(struct admin *w, struct hostfile *under)
{
	const struct img_open how = {.format = admin_format(w->scene),
	    .flags = IMG_O_RDWR | IMG_O_DISCARD};
	struct err e = ERR_INIT;
	struct hostfile *f = host_open_memory("go on", 0, &e);
	struct image *img;
	uint8_t buf[5000];

	assert_ok(hostio_copy(f, under, &e), &e);
	img = img_open_host(host_ref(f), &how, &e);
	assert_no_error(&e);
	memset(buf, 0xee, sizeof buf);
	for (unsigned i = 0; i < 4; i++) {
		uint64_t off = rng_below(&w->rng, img_size(img) - sizeof buf);

		assert_ok(img_pwrite(img, buf, sizeof buf, off, 0, &e), &e);
		if (i == 1 && !w->scene->format)
			assert_ok(img_snapshot_create(img, "go", &e), &e);
	}
	if (!w->scene->format)
		assert_ok(img_snapshot_delete(img, "go", &e), &e);
	assert_ok(img_close(img, &e), &e);
	crash_check(f, admin_format(w->scene));
	host_put(f);
}

static const char *differs(struct admin *w, struct hostfile *f)
{
	uint64_t upto = w->changing ? w->next.disk.size : UINT64_MAX;
	const char *why = holding_differs(&w->now, w->flushed, upto, f);

	if (!why || !w->changing)
		return why;
	return holding_differs(&w->next, NULL, UINT64_MAX, f) ? why : NULL;
}

/* Takes the reference of an image that was left, closed or not. */
void admin_judge(struct admin *w, struct hostfile *f)
{
	const char *why;

	crash_check(f, admin_format(w->scene));
	if (w->image_n++ % PEER == 0)
		check_by_peer(w, f);
	if (w->image_n % GO_ON == 0)
		go_on(w, f);
	why = differs(w, f);
	if (why)
		fail_msg(
		    "%s: image %u: %s", w->scene->options, w->image_n, why);
	host_put(f);
}

/* ---- what is done -------------------------------------------------------- */

/* 0, or -1 where that may be. */
static int done(const struct admin *w, int rc, const struct err *e)
{
	if (rc && w->must)
		fail_msg("%s: unexpected error: %s", w->scene->options, e->msg);
	return rc;
}

/* Sectors [first, first + n) that were not touched since the flush. */
static bool pick(struct admin *w, uint64_t *first, uint64_t *n)
{
	uint64_t all = w->now.disk.size / SECTOR_LEN;

	*first = rng_below(&w->rng, all);
	*n = 1 + rng_below(&w->rng, min_u64(all - *first, 80));
	for (uint64_t i = *first; i < *first + *n; i++)
		if (w->round[i])
			return false;
	memset(w->round + *first, 1, *n);
	return true;
}

int admin_write(struct admin *w)
{
	struct err e = ERR_INIT;
	uint64_t first, n;
	uint8_t *p;
	bool zero = rng_below(&w->rng, 4) == 0;
	int rc;

	if (!pick(w, &first, &n))
		return 0;
	p = w->now.disk.bytes + first * SECTOR_LEN;
	w->round_n++;
	for (uint64_t i = 0; i < n * SECTOR_LEN; i += 8)
		put_be64(
		    p + i, zero ? 0 : (uint64_t)w->round_n << 32 | (first + i));
	if (zero)
		rc = img_zero(w->img, n * SECTOR_LEN, first * SECTOR_LEN,
		    IMG_MAY_TRIM, &e);
	else
		rc = img_pwrite(
		    w->img, p, n * SECTOR_LEN, first * SECTOR_LEN, 0, &e);
	return done(w, rc, &e);
}

/* All that is there now is durable. */
void admin_settle(struct admin *w)
{
	memcpy(w->flushed, w->now.disk.bytes, HOLDING_LEN);
	memset(w->round, 0, HOLDING_LEN / SECTOR_LEN);
}

static int flush(struct admin *w)
{
	struct err e = ERR_INIT;

	if (done(w, img_flush(w->img, &e), &e))
		return -1;
	admin_settle(w);
	return 0;
}

static int create(struct admin *w, struct err *e)
{
	char name[8];

	snprintf(name, sizeof name, "s%u", w->name_n++ % 1000);
	holding_snapshot(&w->next, name);
	return img_snapshot_create(w->img, name, e);
}

static int delete_or_apply(struct admin *w, bool delete, struct err *e)
{
	size_t i = rng_below(&w->rng, w->now.snap_n);
	const char *name = w->now.snap[i].name;

	if (delete)
		holding_forget(&w->next, i);
	else
		holding_apply(&w->next, i);
	return (delete ? img_snapshot_delete : img_snapshot_apply)(
	    w->img, name, e);
}

static int resize(struct admin *w, struct err *e)
{
	uint64_t size = SECTOR_LEN * (20 + rng_below(&w->rng,
					       DISK_LEN_MAX / SECTOR_LEN - 20));
	enum img_prealloc how = IMG_PREALLOC_OFF;

	/* Crash files cannot allocate. */
	if (!w->scene->no_prealloc && size > w->now.disk.size &&
	    rng_below(&w->rng, 2))
		how = rng_below(&w->rng, 2) ? IMG_PREALLOC_METADATA
					    : IMG_PREALLOC_FULL;
	holding_resize(&w->next, size);
	return img_resize(w->img, size, how, e);
}

static int change(struct admin *w, struct err *e)
{
	size_t snap_n = w->now.snap_n;
	uint64_t dice = rng_below(&w->rng, w->scene->fixed ? 9 : 12);

	if (dice >= 9 || w->scene->format)
		return resize(w, e);
	if (!snap_n || (snap_n < HOLDING_MAX && dice < 4))
		return create(w, e);
	return delete_or_apply(w, dice < 7 || snap_n == HOLDING_MAX, e);
}

/* A change of the snapshots or the size. */
int admin_change(struct admin *w)
{
	struct err e = ERR_INIT;
	int rc;

	holding_copy(&w->next, &w->now);
	w->changing = true;
	rc = done(w, change(w, &e), &e);
	if (rc)
		return -1;
	w->changing = false;
	w->change_n++;
	holding_copy(&w->now, &w->next);
	admin_settle(w);
	return 0;
}

int admin_step(struct admin *w)
{
	uint64_t dice = rng_below(&w->rng, 8);

	if (dice < 5)
		return admin_write(w);
	return dice == 5 ? flush(w) : admin_change(w);
}

/* The first snapshot has VM state behind its disk. */
static void make_vm_state(struct admin *w, struct image *img)
{
	uint64_t size = w->now.disk.size;
	uint8_t *p = w->now.disk.bytes + size;
	struct err e = ERR_INIT;

	assert_ok(img_resize(img, 2 * size, IMG_PREALLOC_OFF, &e), &e);
	rng_fill(&w->rng, p, size / 2);
	assert_ok(img_pwrite(img, p, size / 2, size, 0, &e), &e);
	w->now.disk.size *= 2;
	holding_snapshot(&w->now, "vm");
	memcpy(w->now.snap[0].bytes, w->now.disk.bytes, HOLDING_LEN);
	assert_ok(img_snapshot_create(img, "vm", &e), &e);
	assert_ok(img_resize(img, size, IMG_PREALLOC_OFF, &e), &e);
	holding_resize(&w->now, size);
}

void admin_open(struct admin *w, struct err *e)
{
	const struct img_open how = {.format = admin_format(w->scene),
	    .flags = IMG_O_RDWR | IMG_O_DISCARD};

	w->img = img_open_host(host_ref(w->file), &how, e);
	done(w, w->img ? 0 : -1, e);
}

/* On w->file, which has an empty image. */
void admin_start(struct admin *w)
{
	struct err e = ERR_INIT;

	holding_init(&w->now, w->scene->size);
	holding_init(&w->next, w->scene->size);
	w->flushed = calloc(1, HOLDING_LEN);
	w->round = calloc(1, HOLDING_LEN / SECTOR_LEN);
	w->must = true;
	admin_open(w, &e);
	for (unsigned i = 0; i < 12; i++)
		admin_write(w);
	if (w->scene->vm_state)
		make_vm_state(w, w->img);
	assert_ok(img_close(w->img, &e), &e);
	if (w->scene->vm_state)
		holding_make_vm_state(&w->now, w->file, w->scene->size);
	assert_ok(host_sync(w->file, &e), &e);
	admin_settle(w);
}

void admin_end(struct admin *w)
{
	holding_free(&w->now);
	holding_free(&w->next);
	free(w->flushed);
	free(w->round);
	host_put(w->file);
}
