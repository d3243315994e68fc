/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Interleavings of writes, zeroing, flushes and plans, scripted: a host call is
 * held while something else happens.
 */
#include <stdlib.h>

#include "check.h"
#include "crashfile.h"
#include "formats/core/units.h"
#include "stage.h"
#include "tmpdir.h"

/* A stage where a write takes no new table, and does not make the file longer:
 * that would have to wait for other writes that do. */
static void stage_warm(struct stage *s, struct hostfile *under)
{
	stage_new(s, under, NULL);
	for (uint64_t cl = 0; cl < 16; cl++)
		stage_write(s, cl, '0');
	for (uint64_t cl = 1; cl < 15; cl++)
		stage_trim(s, cl);
	stage_flush(s);
}

static struct actor writer(
    struct stage *s, char *buf, char letter, uint64_t len, uint64_t off)
{
	memset(buf, letter, len);
	return (struct actor){.op = ACT_WRITE,
	    .img = s->d.img,
	    .buf = buf,
	    .len = len,
	    .off = off};
}

/* Hold the next write of the actor. */
static void start_held(struct stage *s, struct actor *a)
{
	hold_arm(&s->h, FAULT_WRITE, 0, INT64_MAX);
	actor_start(a);
	hold_wait(&s->h);
}

/* Cluster `cl` as a crash leaves it that loses all that is not synced, or
 * nothing. */
static void expect_crash(
    struct crashfile *c, uint64_t seed, uint64_t cl, char letter)
{
	struct err e = ERR_INIT;
	struct disk d = {.file = crashfile_image(c, seed, &e)};
	char want[STAGE_CLUSTER];

	assert_no_error(&e);
	disk_reopen_as(&d, &(struct img_open){.format = "qcow2"});
	memset(want, letter, sizeof want);
	disk_expect(&d, want, sizeof want, cl * STAGE_CLUSTER);
	disk_free(&d);
}

/* I2: nobody sees a new cluster before its data is written, nor does a flush
 * in between publish it. */
static void unpublished_write(void **state)
{
	struct err e = ERR_INIT;
	struct crashfile *c = crashfile_new(&e);
	char buf[STAGE_CLUSTER];
	struct stage s;
	struct actor a;

	(void)state;
	assert_no_error(&e);
	stage_warm(&s, crashfile_host(c));
	a = writer(&s, buf, 'n', sizeof buf, 5 * STAGE_CLUSTER);
	start_held(&s, &a);
	stage_expect(&s, 5, '\0');
	stage_flush(&s);
	expect_crash(c, 0, 5, '\0');
	expect_crash(c, 1, 5, '\0');
	hold_release(&s.h);
	actor_finish(&a);
	stage_expect(&s, 5, 'n');
	stage_flush(&s);
	expect_crash(c, 0, 5, 'n');
	disk_check(&s.d, false);
	stage_free(&s);
	crashfile_free(c);
}

/* Two writes that share a new cluster: neither is lost. */
static void same_cluster(void **state)
{
	char first[STAGE_CLUSTER / 2], second[STAGE_CLUSTER / 2];
	struct stage s;
	struct actor a, b;

	(void)state;
	stage_warm(&s, NULL);
	a = writer(&s, first, 'a', sizeof first, 5 * STAGE_CLUSTER);
	b = writer(
	    &s, second, 'b', sizeof second, 5 * STAGE_CLUSTER + sizeof first);
	start_held(&s, &a);
	actor_start(&b);
	actor_waits(&b);
	hold_release(&s.h);
	actor_finish(&a);
	actor_finish(&b);
	disk_expect(&s.d, first, sizeof first, 5 * STAGE_CLUSTER);
	disk_expect(
	    &s.d, second, sizeof second, 5 * STAGE_CLUSTER + sizeof first);
	disk_check(&s.d, false);
	stage_free(&s);
}

/* What comes after a write that is under way counts. */
static void then_zero(void **state)
{
	static const enum actor_op ops[] = {ACT_ZERO, ACT_TRIM};
	char buf[STAGE_CLUSTER];
	struct stage s;

	(void)state;
	stage_warm(&s, NULL);
	for (unsigned i = 0; i < 2 * ARRAY_N(ops); i++) {
		/* To a new cluster, and in place. */
		uint64_t off = (5 + i % 2) * STAGE_CLUSTER;
		struct actor a = writer(&s, buf, 'n', sizeof buf, off);
		struct actor b = {.op = ops[i / 2],
		    .img = s.d.img,
		    .len = sizeof buf,
		    .off = off};

		if (i % 2)
			stage_write(&s, 6, 'o');
		start_held(&s, &a);
		actor_start(&b);
		actor_waits(&b);
		hold_release(&s.h);
		actor_finish(&a);
		actor_finish(&b);
		stage_expect(&s, 5 + i % 2, '\0');
	}
	disk_check(&s.d, false);
	stage_free(&s);
}

/* A write that fails late gives its space back and lets the next one go. */
static void failed_write(void **state)
{
	char buf[STAGE_CLUSTER], next[STAGE_CLUSTER];
	struct stage s;
	struct actor a, b;

	(void)state;
	stage_warm(&s, NULL);
	a = writer(&s, buf, 'a', sizeof buf, 5 * STAGE_CLUSTER);
	b = writer(&s, next, 'b', sizeof next, 5 * STAGE_CLUSTER);
	start_held(&s, &a);
	faultfile_fail(s.d.file, FAULT_WRITE, 1, EIO, false);
	actor_start(&b);
	actor_waits(&b);
	hold_release(&s.h);
	assert_int_equal(actor_join(&a), -1);
	assert_int_equal(a.e.errnum, EIO);
	actor_finish(&b);
	stage_expect(&s, 5, 'b');
	disk_check(&s.d, false);
	stage_free(&s);
}

/* Flushes that come while one is under way share the next commit. */
static void flushes_share(void **state)
{
	struct stage s;
	struct actor a[8];
	uint64_t before;

	(void)state;
	stage_warm(&s, NULL);
	stage_write(&s, 5, 'n');
	before = faultfile_calls(s.d.file, FAULT_SYNC);
	hold_arm(&s.h, FAULT_SYNC, 0, 0);
	for (unsigned i = 0; i < ARRAY_N(a); i++) {
		a[i] = (struct actor){.op = ACT_FLUSH, .img = s.d.img};
		actor_start(&a[i]);
	}
	hold_wait(&s.h);
	for (unsigned i = 0; i < ARRAY_N(a); i++)
		actor_waits(&a[i]);
	hold_release(&s.h);
	for (unsigned i = 0; i < ARRAY_N(a); i++)
		actor_finish(&a[i]);
	/* One commit of three syncs, one with nothing to do of one. */
	assert_true(faultfile_calls(s.d.file, FAULT_SYNC) - before <= 4);
	stage_free(&s);
}

/* ---- plans --------------------------------------------------------------- */

static int plan(struct stage *s, struct img_request *rq, enum img_op op,
    void *buf, uint64_t off, struct batch *b)
{
	struct err e = ERR_INIT;
	int rc;

	*rq = (struct img_request){
	    .op = op, .buf = buf, .len = STAGE_CLUSTER, .off = off};
	rc = img_plan(s->d.img, rq, b, &e);
	assert_no_error(&e);
	return rc;
}

/* A planned write owns its range until it is finished. */
static void planned_write(void **state)
{
	struct err e = ERR_INIT;
	struct batch *b = batch_new(&e);
	char buf[STAGE_CLUSTER], other[STAGE_CLUSTER];
	struct img_request rq, second;
	struct stage s;
	struct actor zero = {
	    .op = ACT_ZERO, .len = STAGE_CLUSTER, .flags = IMG_MAY_TRIM};

	(void)state;
	memset(buf, 'p', sizeof buf);
	stage_warm(&s, NULL);
	zero.img = s.d.img;
	assert_int_equal(plan(&s, &rq, IMG_WRITE, buf, 0, b), 1);
	assert_int_equal(plan(&s, &second, IMG_WRITE, other, 0, b), 0);
	actor_start(&zero);
	actor_waits(&zero);
	batch_run(b);
	stage_expect(&s, 0, 'p');
	assert_ok(img_finish(s.d.img, &rq, &e), &e);
	actor_finish(&zero);
	stage_expect(&s, 0, '\0');
	disk_check(&s.d, false);
	batch_free(b);
	stage_free(&s);
}

/* Planning never waits for somebody who waits for the plans to end. */
static void plan_at_gate(void **state)
{
	struct err e = ERR_INIT;
	struct batch *b = batch_new(&e);
	char buf[2][STAGE_CLUSTER];
	struct img_request rq[2];
	struct stage s;
	struct actor check = {.op = ACT_CHECK};
	int second;

	(void)state;
	stage_warm(&s, NULL);
	check.img = s.d.img;
	assert_int_equal(plan(&s, &rq[0], IMG_READ, buf[0], 0, b), 1);
	actor_start(&check);
	actor_waits(&check);
	second = plan(&s, &rq[1], IMG_READ, buf[1], STAGE_CLUSTER, b);
	batch_run(b);
	assert_ok(img_finish(s.d.img, &rq[0], &e), &e);
	if (second)
		assert_ok(img_finish(s.d.img, &rq[1], &e), &e);
	actor_finish(&check);
	batch_free(b);
	stage_free(&s);
}

/* What waits at the gate while the disk shrinks finds the new end. */
static void shrink_first(void **state)
{
	static const enum actor_op ops[] = {
	    ACT_WRITE, ACT_ZERO, ACT_TRIM, ACT_READ};
	struct err e = ERR_INIT;
	char buf[STAGE_CLUSTER];
	struct stage s;

	(void)state;
	stage_warm(&s, NULL);
	for (unsigned i = 0; i < ARRAY_N(ops); i++) {
		struct actor shrink = {
		    .op = ACT_RESIZE, .img = s.d.img, .len = MiB};
		struct actor a =
		    writer(&s, buf, 'n', sizeof buf, MiB + STAGE_CLUSTER);

		a.op = ops[i];
		start_held(&s, &shrink);
		actor_start(&a);
		actor_waits(&a);
		hold_release(&s.h);
		actor_finish(&shrink);
		assert_fails(actor_join(&a), &a.e, EINVAL, "outside the disk");
		assert_ok(
		    img_resize(s.d.img, 2 * MiB, IMG_PREALLOC_OFF, &e), &e);
		stage_expect(&s, 257, '\0');
	}
	disk_check(&s.d, false);
	stage_free(&s);
}

/* ---- the first sector of a guessed raw image -------------------------------
 */

/* Two writes beside each other must not make together what neither may. */
static void two_halves(void **state)
{
	static char low[] = "QFI", high[] = "\xfb\0\0\0\3";
	struct err e = ERR_INIT;
	struct stage s;
	struct actor a, b;
	int refused;

	(void)state;
	s.d.img = NULL;
	s.d.file = hold_new(&s.h, host_open_memory("disk", MiB, &e));
	disk_reopen_as(&s.d, &(struct img_open){.flags = IMG_O_RDWR});
	a = (struct actor){
	    .op = ACT_WRITE, .img = s.d.img, .buf = low, .len = 3};
	b = (struct actor){
	    .op = ACT_WRITE, .img = s.d.img, .buf = high, .len = 5, .off = 3};
	start_held(&s, &a);
	actor_start(&b);
	actor_waits(&b);
	hold_release(&s.h);
	refused = actor_join(&a) + actor_join(&b);
	assert_int_equal(refused, -1);
	assert_int_equal(b.e.errnum, EPERM);
	stage_free(&s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(unpublished_write),
	    cmocka_unit_test(same_cluster),
	    cmocka_unit_test(then_zero),
	    cmocka_unit_test(failed_write),
	    cmocka_unit_test(flushes_share),
	    cmocka_unit_test(planned_write),
	    cmocka_unit_test(plan_at_gate),
	    cmocka_unit_test(shrink_first),
	    cmocka_unit_test(two_halves),
	};

	tmpdir_enter();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
