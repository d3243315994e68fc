/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Power failures (I6): random operations on storage that keeps what is not
 * synced apart, by one thread and by several whose sectors share clusters.  At
 * each sync, and between operations, see explore.h.
 *
 * CRASH_SEED and CRASH_STEPS change the run, CRASH_ONLY picks scenes.
 */
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "check.h"
#include "effort.h"
#include "explore.h"
#include "group.h"
#include "peer.h"
#include "script.h"
#include "tmpdir.h"

#define STEPS	EFFORT(240u, 80u)
#define THREADS 4u

static uint64_t from_env(const char *name, uint64_t otherwise)
{
	const char *text = getenv(name);

	return text ? strtoull(text, NULL, 0) : otherwise;
}

struct world {
	const struct scene *scene;
	struct crashfile *c;
	struct hostfile *host;
	struct ledger ledger;
	struct explore x;
	struct image *img;
	uint8_t *base;
	uint64_t seed;
};

static void start(struct world *w, const struct scene *scene)
{
	struct img_open how = {
	    .format = scene->format, .flags = IMG_O_RDWR | scene->flags};
	struct err e = ERR_INIT;

	*w = (struct world){.scene = scene, .seed = from_env("CRASH_SEED", 1)};
	w->c = crashfile_new(&e);
	assert_no_error(&e);
	w->host = crashfile_host(w->c);
	w->base = scene_make(scene, w->host, w->seed);
	ledger_init(&w->ledger, scene->size / LEDGER_SECTOR, w->base);
	explore_init(&w->x, scene, w->c, &w->ledger, w->seed);
	w->img = img_open_host(host_ref(w->host), &how, &e);
	assert_no_error(&e);
}

static void end(struct world *w)
{
	struct err e = ERR_INIT;

	explore_assert(&w->x);
	assert_ok(img_close(w->img, &e), &e);
	ledger_flush(&w->ledger);
	explore_look(&w->x);
	explore_assert(&w->x);
	print_message("%u images, %u syncs, %u by qemu-img\n", w->x.image_n,
	    crashfile_barriers(w->c), w->x.peer_n);
	assert_true(w->x.image_n > EFFORT(50, 15));
	host_put(w->host);
	crashfile_free(w->c);
	ledger_free(&w->ledger);
	free(w->base);
}

static void one_thread(void **state)
{
	unsigned steps = (unsigned)from_env("CRASH_STEPS", STEPS);
	struct err e = ERR_INIT;
	struct rng rng;
	struct world w;
	struct script s;

	start(&w, *state);
	rng.state = w.seed;
	s = (struct script){.img = w.img,
	    .ledger = &w.ledger,
	    .rng = &rng,
	    .version = LEDGER_BASE,
	    .stride = 1};
	for (unsigned step = 1; step <= steps; step++) {
		assert_ok(script_step(&s, &e), &e);
		if (step % 8 == 0)
			assert_ok(script_verify(&s, &e), &e);
		if (step % 4 == 0)
			explore_look(&w.x);
		explore_assert(&w.x);
	}
	end(&w);
}

/* ---- several threads ------------------------------------------------------
 */

struct worker {
	pthread_t thread;
	struct script s;
	struct rng rng;
	unsigned steps;
	struct err e;
};

static void *work(void *arg)
{
	struct worker *k = arg;

	for (unsigned i = 0; i < k->steps; i++)
		if (script_step(&k->s, &k->e) || script_verify(&k->s, &k->e))
			break;
	return NULL;
}

static void threads(void **state)
{
	struct worker worker[THREADS];
	struct world w;
	uint64_t zone;

	start(&w, *state);
	zone = w.ledger.sector_n / THREADS - 1;
	for (unsigned i = 0; i < THREADS; i++) {
		struct worker *k = &worker[i];

		*k = (struct worker){.rng = {w.seed + i}, .e = ERR_INIT};
		k->steps = (unsigned)from_env("CRASH_STEPS", STEPS) / THREADS;
		k->s = (struct script){.img = w.img,
		    .ledger = &w.ledger,
		    .rng = &k->rng,
		    .version = LEDGER_BASE + 1 + i,
		    .stride = THREADS,
		    .first = i * zone + 1,
		    .n = zone};
		assert_int_equal(pthread_create(&k->thread, NULL, work, k), 0);
	}
	for (unsigned i = 0; i < THREADS; i++) {
		assert_int_equal(pthread_join(worker[i].thread, NULL), 0);
		assert_no_error(&worker[i].e);
	}
	end(&w);
}

int main(void)
{
	CLEANUP_FREE char(*names)[64] = calloc(2 * scene_n, sizeof *names);
	const char *only = getenv("CRASH_ONLY");
	struct group g = {0};

	peer_needs("qemu-img");
	peer_needs("qemu-io");
	assert_non_null(names);
	tmpdir_enter();
	for (size_t i = 0; i < 2 * scene_n; i++) {
		const struct scene *s = &scenes[i / 2];

		snprintf(names[i], sizeof names[i], "%s%s", s->name,
		    i % 2 ? ", threads" : "");
		if (scene_can_run(s) && (!only || strstr(names[i], only)))
			group_add(
			    &g, names[i], i % 2 ? threads : one_thread, s);
	}
	printf("seed %" PRIu64 "\n", from_env("CRASH_SEED", 1));
	return group_run(&g, "crash");
}
