/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Space that was given up is reused, or punched, only when nobody can see it
 * any more and it is forgotten durably (I1, I3).
 */
#include <stdlib.h>

#include "check.h"
#include "crashfile.h"
#include "formats/codec/codec.h"
#include "stage.h"
#include "tmpdir.h"

#define OTHERS 16u /* clusters that are written to find reused space */

/* Write clusters [first, first + OTHERS); does one of them get `host`? */
static bool reused(struct stage *s, uint64_t first, uint64_t host)
{
	bool found = false;

	for (unsigned i = 0; i < OTHERS; i++) {
		stage_write(s, first + i, (char)('A' + i));
		found = found || stage_host(s, first + i) == host;
	}
	return found;
}

static void expect_others(struct stage *s, uint64_t first)
{
	for (unsigned i = 0; i < OTHERS; i++)
		stage_expect(s, first + i, (char)('A' + i));
}

/* The hole-punch on a cluster comes late: after others wrote. */
static void late_punch(void **state)
{
	struct stage s;
	struct actor flush = {.op = ACT_FLUSH};
	uint64_t host;

	(void)state;
	stage_new(&s, NULL, NULL);
	stage_write(&s, 0, 'x');
	stage_flush(&s);
	host = stage_host(&s, 0);
	stage_trim(&s, 0);
	hold_arm(&s.h, FAULT_PUNCH | FAULT_ZERO, host, STAGE_CLUSTER);
	flush.img = s.d.img;
	actor_start(&flush);
	hold_wait(&s.h);
	assert_false(reused(&s, 8, host));
	hold_release(&s.h);
	actor_finish(&flush);
	expect_others(&s, 8);
	/* It is not lost: punched, it serves again. */
	assert_true(reused(&s, 64, host));
	expect_others(&s, 8);
	expect_others(&s, 64);
	disk_check(&s.d, false);
	stage_reopen(&s);
	expect_others(&s, 8);
	expect_others(&s, 64);
	stage_free(&s);
}

/* A read that was planned before its cluster was given up. */
static void planned_read(void **state)
{
	struct stage s;
	struct err e = ERR_INIT;
	struct batch *b = batch_new(&e);
	char got[STAGE_CLUSTER], want[STAGE_CLUSTER];
	struct img_request rq = {
	    .op = IMG_READ, .buf = got, .len = sizeof got, .off = 0};
	uint64_t host;

	(void)state;
	stage_new(&s, NULL, NULL);
	stage_write(&s, 0, 'x');
	stage_flush(&s);
	host = stage_host(&s, 0);
	assert_int_equal(img_plan(s.d.img, &rq, b, &e), 1);
	stage_trim(&s, 0);
	for (unsigned i = 0; i < 3; i++) {
		stage_flush(&s);
		assert_false(reused(&s, 8 + i * OTHERS, host));
	}
	batch_run(b);
	assert_ok(img_finish(s.d.img, &rq, &e), &e);
	memset(want, 'x', sizeof want);
	assert_memory_equal(got, want, sizeof want);
	stage_flush(&s);
	assert_true(reused(&s, 256, host));
	disk_check(&s.d, false);
	batch_free(b);
	stage_free(&s);
}

static void write_packed(struct stage *s, uint64_t cl, char letter)
{
	char data[STAGE_CLUSTER], packed[STAGE_CLUSTER];
	struct err e = ERR_INIT;
	struct codec_ctx *x = codec_ctx_new(CODEC_DEFLATE, 0, &e);
	ssize_t len;

	assert_no_error(&e);
	memset(data, letter, sizeof data);
	len = codec_pack(x, packed, sizeof packed - 1, data, sizeof data, &e);
	assert_true(len > 0);
	assert_ok(img_write_packed(
		      s->d.img, packed, (size_t)len, cl * STAGE_CLUSTER, &e),
	    &e);
	codec_ctx_free(x);
}

/* The same for a part of a compressed cluster; its unpacked copy is not kept
 * when the space has another owner. */
static void planned_packed_read(void **state)
{
	struct stage s;
	struct err e = ERR_INIT;
	struct batch *b = batch_new(&e);
	char got[64], want[64];
	struct img_request rq = {
	    .op = IMG_READ, .buf = got, .len = sizeof got, .off = 512};

	(void)state;
	stage_new(&s, NULL, NULL);
	write_packed(&s, 0, 'p');
	stage_flush(&s);
	assert_int_equal(img_plan(s.d.img, &rq, b, &e), 1);
	stage_write(&s, 0, 'x');
	for (unsigned i = 0; i < 3; i++) {
		stage_flush(&s);
		reused(&s, 16 + i * OTHERS, 0);
	}
	batch_run(b);
	assert_ok(img_finish(s.d.img, &rq, &e), &e);
	memset(want, 'p', sizeof want);
	assert_memory_equal(got, want, sizeof want);
	stage_flush(&s);
	for (unsigned i = 0; i < 8; i++)
		write_packed(&s, 128 + i, 'r');
	memset(want, 'r', sizeof want);
	for (unsigned i = 0; i < 8; i++)
		disk_expect(
		    &s.d, want, sizeof want, (128 + i) * STAGE_CLUSTER + 512);
	disk_check(&s.d, false);
	batch_free(b);
	stage_free(&s);
}

/* ---- given up while a commit is on its way --------------------------------
 */

struct crash_stage {
	struct stage s;
	struct crashfile *c;
};

static void crash_stage_new(struct crash_stage *t)
{
	struct err e = ERR_INIT;

	t->c = crashfile_new(&e);
	assert_no_error(&e);
	stage_new(&t->s, crashfile_host(t->c), NULL);
}

/* What a cluster holds after a crash now. */
static void expect_after_crash(
    struct crash_stage *t, uint64_t seed, uint64_t cl, char letter)
{
	struct err e = ERR_INIT;
	struct disk d = {.file = crashfile_image(t->c, seed, &e)};
	char want[STAGE_CLUSTER];

	assert_no_error(&e);
	disk_reopen_as(&d, &(struct img_open){.format = "qcow2"});
	memset(want, letter, sizeof want);
	disk_expect(&d, want, sizeof want, cl * STAGE_CLUSTER);
	disk_free(&d);
}

/*
 * A cluster is trimmed while a commit waits for its last sync: that commit
 * does not make the trim durable, so it must not free the cluster either.
 */
static void retired_during_commit(void **state)
{
	struct crash_stage t;
	struct actor flush = {.op = ACT_FLUSH};
	uint64_t host;

	(void)state;
	crash_stage_new(&t);
	stage_write(&t.s, 0, 'x');
	stage_flush(&t.s);
	host = stage_host(&t.s, 0);
	stage_write(&t.s, 1, 'y');
	hold_arm(&t.s.h, FAULT_SYNC, 0, 0);
	flush.img = t.s.d.img;
	actor_start(&flush);
	hold_wait(&t.s.h);
	stage_trim(&t.s, 0);
	hold_release(&t.s.h);
	actor_finish(&flush);
	assert_false(reused(&t.s, 8, host));
	for (uint64_t seed = 0; seed < 40; seed++) {
		expect_after_crash(&t, seed, 0, 'x');
		expect_after_crash(&t, seed, 1, 'y');
	}
	stage_flush(&t.s);
	assert_true(reused(&t.s, 64, host));
	disk_check(&t.s.d, false);
	stage_free(&t.s);
	crashfile_free(t.c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(late_punch),
	    cmocka_unit_test(planned_read),
	    cmocka_unit_test(planned_packed_read),
	    cmocka_unit_test(retired_during_commit),
	};

	tmpdir_enter();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
