/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Power or host calls fail while a disk with dirty bitmaps is written and its
 * bitmaps are changed.  What is found afterwards: a bitmap that does not say
 * that it is inconsistent covers all that differs from what the disk was when
 * the bitmap was made or cleared; and without writes none is inconsistent.
 */
#include <stdio.h>

#include "bitmapped.h"
#include "check.h"
#include "effort.h"
#include "faultfile.h"
#include "formats/core/units.h"
#include "group.h"

#define STEPS  60u
#define IMAGES 4u /* at each sync */
#define GO_ON  5u /* every so many images */

static const struct bitmapped_scene scenes[] = {
    {"cluster_size=512", 512},
    {"cluster_size=512,refcount_bits=1", 4096},
    {"cluster_size=64k", 512},
    {"cluster_size=16k,extended_l2=on", 65536},
};

/* ---- crashes ----------------------------------------------------------------
 */

static void look(void *arg, uint64_t seed)
{
	struct bitmapped *w = arg;
	struct err e = ERR_INIT;
	struct hostfile *f = crashfile_image(w->crash, seed, &e);

	assert_no_error(&e);
	bitmapped_judge(w, f);
	if (w->image_n++ % GO_ON == 0)
		bitmapped_go_on(f);
	host_put(f);
}

static void crashes(void **state)
{
	struct err e = ERR_INIT;
	unsigned void_n = 0, clean_n = 0;

	for (uint64_t seed = 1; seed <= EFFORT(4, 1); seed++) {
		struct bitmapped w;
		struct crash_watch watch = {IMAGES, look, &w};

		bitmapped_init(&w, *state, seed);
		w.crash = crashfile_new(&e);
		assert_no_error(&e);
		crash_create(
		    w.crash, "qcow2", BITMAPPED_START, w.scene->options, NULL);
		w.file = crashfile_host(w.crash);
		crash_watch(w.crash, &watch);
		for (unsigned i = 0; i < 3; i++) {
			bitmapped_session(&w, STEPS / 3);
			bitmapped_judge(&w, w.file);
		}
		void_n += w.void_n;
		clean_n += w.clean_n;
		bitmapped_clear(&w);
		crashfile_free(w.crash);
	}
	/* Both were there to be looked at. */
	assert_true(void_n > 100 && clean_n > 100);
}

/* ---- faults -----------------------------------------------------------------
 */

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

static struct hostfile *new_image(const struct bitmapped_scene *scene)
{
	struct err e = ERR_INIT;
	CLEANUP(options) struct options *o = options_new(&e);
	struct hostfile *f = host_open_memory("disk", 0, &e);
	char size[24];

	snprintf(size, sizeof size, "%llu", BITMAPPED_START);
	assert_ok(options_parse(o, scene->options, NULL, &e), &e);
	assert_ok(options_set(o, "size", size, &e), &e);
	assert_ok(img_create_host(f, "qcow2", o, &e), &e);
	return f;
}

/* False when there was no Nth call. */
static bool fault(
    const struct bitmapped_scene *scene, const struct way *way, uint64_t n)
{
	struct hostfile *f = new_image(scene);
	struct err e = ERR_INIT;
	struct bitmapped w;
	bool hit;

	bitmapped_init(&w, scene, 7);
	w.must = false;
	w.file = faultfile_new(host_ref(f), &e);
	assert_no_error(&e);
	faultfile_fail(w.file, way->kinds, n, way->errnum, way->stays);
	bitmapped_session(&w, STEPS / 2);
	bitmapped_session(&w, STEPS / 4);
	hit = faultfile_hit(w.file);
	w.may_void = true;
	for (size_t i = 0; i < BITMAPPED_N; i++)
		w.presence[i] = BITMAP_EITHER;
	bitmapped_judge(&w, f);
	bitmapped_clear(&w);
	bitmapped_go_on(f);
	host_put(f);
	return hit;
}

static void faults(void **state)
{
	for (size_t i = 0; i < ARRAY_N(ways); i++) {
		uint64_t n = 1;

		while (fault(*state, &ways[i], n))
			n += EFFORT(1, 17);
		assert_true(n > 20);
	}
}

int main(void)
{
	struct group g = {0};

	for (size_t i = 0; i < ARRAY_N(scenes); i++) {
		group_add(&g, scenes[i].options, crashes, &scenes[i]);
		group_add(&g, scenes[i].options, faults, &scenes[i]);
	}
	return group_run(&g, "bitmap");
}
