/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Power fails while a disk with an external data file is written: whatever of
 * the two files is found, it opens, what was flushed is there, and nothing is
 * stale or foreign.
 */
#include <inttypes.h>

#include "check.h"
#include "crash.h"
#include "effort.h"
#include "formats/core/units.h"
#include "formats/qcow2/qcow2.h"
#include "group.h"
#include "hostio.h"
#include "ledger.h"
#include "script.h"
#include "tmpdir.h"

#define SIZE   (1 * MiB + SECTOR_LEN)
#define STEPS  EFFORT(160u, 60u)
#define IMAGES 4u /* at each sync */
#define GO_ON  9u /* every so many images */

struct trial {
	struct crashfile *meta, *data;
	struct image *img;
	struct ledger ledger;
	struct rng rng;
	uint64_t version;
	unsigned image_n;
};

/* An image on two files, whose references it takes.  The file that it names
 * is there only to be opened. */
static struct image *open_pair(
    struct hostfile *meta, struct hostfile *data, unsigned flags)
{
	const struct img_open how = {
	    .format = "qcow2", .flags = flags | IMG_O_DISCARD};
	struct err e = ERR_INIT;
	struct image *img = img_open_host(meta, &how, &e);
	struct qcow2 *q;

	assert_no_error(&e);
	q = qcow2_of(img);
	host_put(q->data);
	q->data = data;
	return img;
}

static void go_on(struct trial *t, struct image *img)
{
	struct err e = ERR_INIT;
	struct ledger now;
	struct script s = {.img = img,
	    .ledger = &now,
	    .rng = &t->rng,
	    .version = t->version + (1ull << 32),
	    .stride = 1,
	    .no_packed = true};

	ledger_copy(&now, &t->ledger);
	assert_ok(script_go_on(&s, 12, &e), &e);
	t->version = s.version;
	ledger_free(&now);
}

static void look(void *arg, uint64_t seed)
{
	struct trial *t = arg;
	struct err e = ERR_INIT;
	struct hostfile *meta = crashfile_image(t->meta, seed, &e);
	/* Both are whole or empty, or each is what it happens to be. */
	struct hostfile *data =
	    crashfile_image(t->data, seed < 2 ? seed : seed * 7 + 2, &e);
	bool write = t->image_n++ % GO_ON == 0;
	CLEANUP_FREE uint8_t *got = NULL;
	struct image *img;
	uint64_t bad = 0;

	assert_no_error(&e);
	crash_check(meta, "qcow2");
	img = open_pair(host_ref(meta), data, write ? IMG_O_RDWR : 0);
	got = script_read(img, &e);
	assert_no_error(&e);
	if (!ledger_allows(&t->ledger, got, 0, t->ledger.sector_n, &bad))
		fail_msg(
		    "seed %" PRIu64 ": sector %" PRIu64 " is wrong", seed, bad);
	if (write)
		go_on(t, img);
	assert_ok(img_close(img, &e), &e);
	crash_check(meta, "qcow2");
	host_put(meta);
}

/* Both files as create leaves them. */
static void make(struct trial *t, const char *options)
{
	struct err e = ERR_INIT;
	struct hostfile *data;

	*t = (struct trial){.rng = {5}, .version = LEDGER_BASE};
	t->meta = crashfile_new(&e);
	t->data = crashfile_new(&e);
	assert_no_error(&e);
	crash_create(t->meta, "qcow2", SIZE, options, NULL);
	data = crashfile_host(t->data);
	assert_ok(hostio_load(data, "data.raw", &e), &e);
	assert_ok(host_sync(data, &e), &e);
	ledger_init(&t->ledger, SIZE / LEDGER_SECTOR, NULL);
	t->img = open_pair(crashfile_host(t->meta), data, IMG_O_RDWR);
}

static void crashes(void **state)
{
	struct err e = ERR_INIT;
	struct script s = {.stride = 1, .no_packed = true};
	struct trial t;
	struct crash_watch watch = {IMAGES, look, &t};

	make(&t, *state);
	s.img = t.img;
	s.ledger = &t.ledger;
	s.rng = &t.rng;
	s.version = t.version;
	crash_watch(t.meta, &watch);
	crash_watch(t.data, &watch);
	for (unsigned i = 0; i < STEPS; i++) {
		assert_ok(script_step(&s, &e), &e);
		t.version = s.version;
		if (i % 4 == 0)
			crash_look(&watch, i);
	}
	assert_ok(img_close(t.img, &e), &e);
	ledger_flush(&t.ledger);
	look(&t, 0);
	assert_true(t.image_n > STEPS);
	ledger_free(&t.ledger);
	crashfile_free(t.meta);
	crashfile_free(t.data);
}

int main(void)
{
	static const char *const options[] = {
	    "data_file=data.raw,cluster_size=4k",
	    "data_file=data.raw,cluster_size=4k,data_file_raw=on",
	    "data_file=data.raw,cluster_size=64k,refcount_bits=1",
	    "data_file=data.raw,cluster_size=16k,extended_l2=on",
	};
	struct group g = {0};

	tmpdir_enter();
	for (size_t i = 0; i < ARRAY_N(options); i++)
		group_add(&g, options[i], crashes, options[i]);
	return group_run(&g, "datafile");
}
