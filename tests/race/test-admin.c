/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Changes of the size, of snapshots and of bitmaps beside requests: scripted,
 * where a host call of the one is held while the other comes; and all of them
 * at once.
 */
#include <pthread.h>

#include "check.h"
#include "effort.h"
#include "formats/core/batch.h"
#include "formats/core/units.h"
#include "rng.h"
#include "stage.h"
#include "tmpdir.h"

#define FAR 400u /* a cluster that is cut off */

static struct actor request(
    struct stage *s, enum actor_op op, char *buf, uint64_t cl)
{
	return (struct actor){.op = op,
	    .img = s->d.img,
	    .buf = buf,
	    .len = STAGE_CLUSTER,
	    .off = cl * STAGE_CLUSTER};
}

static struct actor shrinker(struct stage *s)
{
	return (struct actor){.op = ACT_RESIZE, .img = s->d.img, .len = MiB};
}

/* Nothing of what was cut off shows again. */
static void expect_gone(struct stage *s)
{
	struct err e = ERR_INIT;

	assert_int_equal(img_size(s->d.img), MiB);
	assert_ok(img_resize(s->d.img, 2 * MiB, IMG_PREALLOC_OFF, &e), &e);
	stage_expect(s, FAR, '\0');
	disk_check(&s->d, false);
}

/* ---- a request, then a shrink -------------------------------------------- */

/* What is under way ends before the disk is cut. */
static void request_first(void **state)
{
	static const struct {
		enum actor_op op;
		unsigned kind;
		bool in_place;
	} cases[] = {
	    {ACT_READ, FAULT_READ, true},
	    {ACT_WRITE, FAULT_WRITE, true},
	    {ACT_WRITE, FAULT_WRITE, false},
	    {ACT_FLUSH, FAULT_SYNC, true},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_N(cases); i++) {
		char buf[STAGE_CLUSTER] = "x";
		struct stage s;
		struct actor a, shrink;

		stage_new(&s, NULL, NULL);
		stage_write(&s, 0, '0');
		if (cases[i].in_place)
			stage_write(&s, FAR, 'o');
		a = request(&s, cases[i].op, buf, FAR);
		shrink = shrinker(&s);
		hold_arm(&s.h, cases[i].kind, 0, INT64_MAX);
		actor_start(&a);
		hold_wait(&s.h);
		actor_start(&shrink);
		actor_waits(&shrink);
		hold_release(&s.h);
		actor_finish(&a);
		actor_finish(&shrink);
		expect_gone(&s);
		stage_free(&s);
	}
}

/* Nor is it cut between a plan and its end. */
static void plan_first(void **state)
{
	static const enum img_op ops[] = {IMG_READ, IMG_WRITE};

	(void)state;
	for (size_t i = 0; i < ARRAY_N(ops); i++) {
		char buf[STAGE_CLUSTER] = "x";
		struct img_request rq = {.op = ops[i],
		    .buf = buf,
		    .len = sizeof buf,
		    .off = FAR * STAGE_CLUSTER};
		struct err e = ERR_INIT;
		struct batch *b = batch_new(&e);
		struct stage s;
		struct actor shrink;

		stage_new(&s, NULL, NULL);
		stage_write(&s, FAR, 'o');
		shrink = shrinker(&s);
		assert_int_equal(img_plan(s.d.img, &rq, b, &e), 1);
		actor_start(&shrink);
		actor_waits(&shrink);
		batch_run(b);
		actor_waits(&shrink);
		assert_ok(img_finish(s.d.img, &rq, &e), &e);
		actor_finish(&shrink);
		expect_gone(&s);
		batch_free(b);
		stage_free(&s);
	}
}

/* ---- writers and a snapshot ---------------------------------------------- */

/* A write that began before is in it, one that came later is not. */
static void snapshot_between(void **state)
{
	char before[STAGE_CLUSTER], after[STAGE_CLUSTER];
	struct stage s;
	struct actor first, second, snapshot;

	(void)state;
	memset(before, 'b', sizeof before);
	memset(after, 'a', sizeof after);
	stage_new(&s, NULL, NULL);
	for (uint64_t cl = 0; cl < 8; cl++)
		stage_write(&s, cl, 'o');
	first = request(&s, ACT_WRITE, before, 4);
	second = request(&s, ACT_WRITE, after, 5);
	snapshot = request(&s, ACT_SNAPSHOT, NULL, 0);
	hold_arm(&s.h, FAULT_WRITE, 0, INT64_MAX);
	actor_start(&first);
	hold_wait(&s.h);
	actor_start(&snapshot);
	actor_waits(&snapshot);
	actor_start(&second);
	actor_waits(&second);
	hold_release(&s.h);
	actor_finish(&first);
	actor_finish(&snapshot);
	actor_finish(&second);
	stage_expect(&s, 4, 'b');
	stage_expect(&s, 5, 'a');
	disk_check(&s.d, false);
	disk_reopen_as(&s.d,
	    &(struct img_open){.format = "qcow2", .flags = 0, .snapshot = "s"});
	stage_expect(&s, 4, 'b');
	stage_expect(&s, 5, 'o');
	stage_free(&s);
}

/* ---- all at once -----------------------------------------------------------
 */

#define WRITERS 3u
#define ROUNDS	EFFORT(400u, 120u)
#define SAFE	(MiB / STAGE_CLUSTER) /* clusters that are never cut off */

struct worker {
	pthread_t thread;
	struct image *img;
	unsigned ix;
	struct rng rng;
	char now[SAFE]; /* what its own clusters hold */
	const char *wrong;
	struct err e;
};

/* Past the end it may be refused. */
static bool went_wrong(struct worker *w, int rc, uint64_t cl)
{
	if (rc && cl >= SAFE && w->e.errnum == EINVAL) {
		err_clear(&w->e);
		return false;
	}
	return rc;
}

/* One of its own clusters, or any one behind. */
static uint64_t pick(struct worker *w)
{
	uint64_t cl = rng_below(&w->rng, 2 * SAFE);

	return cl < SAFE ? cl - cl % WRITERS + w->ix : cl;
}

static int change_one(struct worker *w, char *buf, uint64_t cl, char letter)
{
	uint64_t off = cl * STAGE_CLUSTER;

	memset(buf, letter, STAGE_CLUSTER);
	if (!letter && rng_below(&w->rng, 2))
		return img_trim(w->img, STAGE_CLUSTER, off, 0, &w->e);
	if (!letter)
		return img_zero(
		    w->img, STAGE_CLUSTER, off, IMG_MAY_TRIM, &w->e);
	return img_pwrite(w->img, buf, STAGE_CLUSTER, off, 0, &w->e);
}

static int one_round(struct worker *w)
{
	char buf[STAGE_CLUSTER];
	uint64_t cl = pick(w);
	char letter = (char)rng_below(&w->rng, 3) ? 'a' + w->rng.state % 20 : 0;

	if (cl >= 2 * SAFE || (cl < SAFE && cl % WRITERS != w->ix))
		return 0;
	if (went_wrong(w, change_one(w, buf, cl, letter), cl))
		return -1;
	if (cl < SAFE)
		w->now[cl] = letter;
	if (rng_below(&w->rng, 20) == 0)
		return img_flush(w->img, &w->e);
	cl = pick(w);
	if (cl >= SAFE || cl % WRITERS != w->ix)
		return 0;
	if (img_pread(w->img, buf, sizeof buf, cl * STAGE_CLUSTER, &w->e))
		return -1;
	if (buf[0] != w->now[cl] || memcmp(buf, buf + 1, sizeof buf - 1))
		w->wrong = "another content";
	return 0;
}

static void *write_many(void *arg)
{
	struct worker *w = arg;

	for (unsigned i = 0; i < ROUNDS && !w->wrong; i++)
		if (one_round(w))
			break;
	return NULL;
}

static void *resize_often(void *arg)
{
	struct worker *w = arg;

	for (unsigned i = 0; i < ROUNDS / 8; i++)
		if (img_resize(w->img,
			MiB + SECTOR_LEN * rng_below(&w->rng, 2048),
			IMG_PREALLOC_OFF, &w->e))
			break;
	return NULL;
}

static int look(struct image *img, struct err *e)
{
	struct img_snapshot *list;
	struct img_info info;
	size_t n;

	if (img_info(img, &info, e))
		return -1;
	img_info_clear(&info);
	if (img_snapshots(img, &list, &n, e))
		return -1;
	img_snapshots_free(list, n);
	return 0;
}

static void *snapshot_often(void *arg)
{
	struct worker *w = arg;

	for (unsigned i = 0; i < ROUNDS / 16; i++)
		if (img_snapshot_create(w->img, "one", &w->e) ||
		    img_snapshot_create(w->img, "two", &w->e) ||
		    look(w->img, &w->e) ||
		    img_snapshot_delete(w->img, "one", &w->e) ||
		    look(w->img, &w->e) ||
		    img_snapshot_delete(w->img, "two", &w->e))
			break;
	return NULL;
}

static void *bitmap_often(void *arg)
{
	struct worker *w = arg;
	struct img_bitmap_extent x;

	if (img_bitmap_add(w->img, "kept", 4096, true, &w->e))
		return NULL;
	for (unsigned i = 0; i < ROUNDS / 16; i++)
		if (img_bitmap_add(w->img, "more", 4096, i % 2, &w->e) ||
		    img_bitmap_map(w->img, "more", 0, MiB, &x, &w->e) ||
		    look(w->img, &w->e) ||
		    img_bitmap_merge(w->img, "kept", w->img, "more", &w->e) ||
		    img_bitmap_remove(w->img, "more", &w->e))
			break;
	return NULL;
}

/* Each in a thread of its own; none of them fails, or finds something wrong. */
static void run_all(
    struct image *img, struct worker *w, void *(*const *fn)(void *), size_t n)
{
	for (unsigned i = 0; i < n; i++) {
		w[i] = (struct worker){
		    .img = img, .ix = i, .rng = {i}, .e = ERR_INIT};
		assert_int_equal(
		    pthread_create(&w[i].thread, NULL, fn[i], &w[i]), 0);
	}
	for (unsigned i = 0; i < n; i++) {
		pthread_join(w[i].thread, NULL);
		assert_no_error(&w[i].e);
		assert_null(w[i].wrong);
	}
}

static void together(void **state)
{
	void *(*fn[6])(void *) = {write_many, write_many, write_many,
	    resize_often, snapshot_often, bitmap_often};
	static struct worker w[6];
	struct stage s;

	(void)state;
	stage_new(&s, NULL, NULL);
	run_all(s.d.img, w, fn, ARRAY_N(fn));
	for (unsigned i = 0; i < WRITERS; i++)
		for (uint64_t cl = i; cl < SAFE; cl += WRITERS)
			stage_expect(&s, cl, w[i].now[cl]);
	disk_check(&s.d, false);
	stage_free(&s);
}

static void *merge_often(void *arg)
{
	struct worker *w = arg;

	for (unsigned i = 0; i < ROUNDS; i++)
		if (img_bitmap_merge(w->img, "one", w->img, "two", &w->e))
			break;
	return NULL;
}

/* Two bitmaps of one image have one size at any time. */
static void merge_and_resize(void **state)
{
	void *(*fn[2])(void *) = {merge_often, resize_often};
	struct worker w[2];
	struct stage s;
	struct err e = ERR_INIT;

	(void)state;
	stage_new(&s, NULL, NULL);
	assert_int_equal(img_bitmap_add(s.d.img, "one", 4096, true, &e), 0);
	assert_int_equal(img_bitmap_add(s.d.img, "two", 4096, true, &e), 0);
	run_all(s.d.img, w, fn, ARRAY_N(fn));
	stage_free(&s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(request_first),
	    cmocka_unit_test(plan_first),
	    cmocka_unit_test(snapshot_between),
	    cmocka_unit_test(merge_and_resize),
	    cmocka_unit_test(together),
	};

	tmpdir_enter();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
