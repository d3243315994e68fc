/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Power fails while an image is amended: the disk and its snapshots read as
 * before, and leaks are the worst that our check and qemu-img's see.
 */
#include <stdio.h>

#include "amended.h"
#include "check.h"
#include "crash.h"
#include "effort.h"
#include "peer.h"
#include "tmpdir.h"

#define SEEDS EFFORT(8u, 4u) /* at each sync; two are all and nothing */

static void power_fails(void *arg, struct crashfile *c, unsigned barrier)
{
	for (uint64_t seed = 0; seed < SEEDS; seed++) {
		struct err e = ERR_INIT;
		struct hostfile *f = crashfile_image(
		    c, seed < 2 ? seed : barrier * SEEDS + seed, &e);

		assert_no_error(&e);
		amended_judge(arg, f);
	}
}

static void step(struct amended *a, struct crashfile *c, const char *options)
{
	struct hostfile *f = crashfile_host(c);
	struct err e = ERR_INIT;
	struct image *img;

	amended_begin(a, options, f);
	crashfile_on_sync(c, power_fails, a);
	img = amended_open(f, &e);
	assert_no_error(&e);
	assert_ok(amended_step(img, options, &e), &e);
	assert_ok(img_close(img, &e), &e);
	crashfile_on_sync(c, NULL, NULL);
	/* Both headers were met. */
	print_message("%s: %u images, %u old\n", options, a->image_n, a->old_n);
	assert_true(a->old_n > 0 && a->old_n < a->image_n);
	/* At the end only the new one is there. */
	a->old_n = 0;
	amended_done(a);
	amended_judge(a, crashfile_image(c, 0, &e));
	assert_int_equal(a->old_n, 0);
	host_put(f);
}

static void crashes(void **state)
{
	struct amended a = {.scene = *state, .peer_each = 5};
	struct err e = ERR_INIT;
	struct crashfile *c = crashfile_new(&e);
	struct hostfile *f;

	assert_no_error(&e);
	crash_create(c, "qcow2", a.scene->size, a.scene->options,
	    a.scene->overlay ? "base" : NULL);
	f = crashfile_host(c);
	amended_start(&a, f);
	host_put(f);
	for (unsigned i = 0; i < AMENDED_STEPS && a.scene->step[i]; i++)
		step(&a, c, a.scene->step[i]);
	amended_end(&a);
	crashfile_free(c);
}

int main(void)
{
	struct CMUnitTest tests[16];

	if (!peer_have("qemu-img")) {
		printf("needs qemu-img\n");
		return 77;
	}
	tmpdir_enter();
	amended_make_base();
	for (size_t i = 0; i < amended_scene_n; i++)
		tests[i] =
		    (struct CMUnitTest){.name = amended_scenes[i].options,
			.test_func = crashes,
			.initial_state = (void *)(uintptr_t)&amended_scenes[i]};
	return _cmocka_run_group_tests(
	    "amend", tests, amended_scene_n, NULL, NULL);
}
