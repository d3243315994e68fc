/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Power fails while an image is amended: the disk and its snapshots read as
 * before, and leaks are the worst that our check and qemu-img's see.
 */
#include "amended.h"
#include "check.h"
#include "crash.h"
#include "effort.h"
#include "group.h"
#include "peer.h"
#include "tmpdir.h"

#define SEEDS EFFORT(8u, 4u) /* at each sync; two are all and nothing */

struct trial {
	struct amended a;
	struct crashfile *c;
};

static void look(void *arg, uint64_t seed)
{
	struct trial *t = arg;
	struct err e = ERR_INIT;
	struct hostfile *f = crashfile_image(t->c, seed, &e);

	assert_no_error(&e);
	amended_judge(&t->a, f);
}

static void step(struct trial *t, const char *options)
{
	struct crash_watch watch = {SEEDS, look, t};
	struct hostfile *f = crashfile_host(t->c);
	struct amended *a = &t->a;
	struct err e = ERR_INIT;
	struct image *img;

	amended_begin(a, options, f);
	crash_watch(t->c, &watch);
	img = amended_open(f, &e);
	assert_no_error(&e);
	assert_ok(amended_step(img, options, &e), &e);
	assert_ok(img_close(img, &e), &e);
	crashfile_on_sync(t->c, NULL, NULL);
	/* Both headers were met. */
	print_message("%s: %u images, %u old\n", options, a->image_n, a->old_n);
	assert_true(a->old_n > 0 && a->old_n < a->image_n);
	/* At the end only the new one is there. */
	a->old_n = 0;
	amended_done(a);
	amended_judge(a, crashfile_image(t->c, 0, &e));
	assert_int_equal(a->old_n, 0);
	host_put(f);
}

static void crashes(void **state)
{
	struct trial t = {.a = {.scene = *state, .peer_each = 5}};
	const struct amended_scene *scene = t.a.scene;
	struct err e = ERR_INIT;
	struct hostfile *f;

	t.c = crashfile_new(&e);
	assert_no_error(&e);
	crash_create(t.c, "qcow2", scene->size, scene->options,
	    scene->overlay ? "base" : NULL);
	f = crashfile_host(t.c);
	amended_start(&t.a, f);
	host_put(f);
	for (unsigned i = 0; i < AMENDED_STEPS && scene->step[i]; i++)
		step(&t, scene->step[i]);
	amended_end(&t.a);
	crashfile_free(t.c);
}

int main(void)
{
	struct group g = {0};

	peer_needs("qemu-img");
	tmpdir_enter();
	amended_make_base();
	for (size_t i = 0; i < amended_scene_n; i++)
		group_add(
		    &g, amended_scenes[i].options, crashes, &amended_scenes[i]);
	return group_run(&g, "amend");
}
