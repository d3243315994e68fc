/* SPDX-License-Identifier: BSD-3-Clause */
/* Repairs that are broken off: see mended.h. */
#include <stdlib.h>

#include "check.h"
#include "faultfile.h"
#include "formats/core/units.h"
#include "hostio.h"
#include "mended.h"

#define IMAGES 6u /* at each sync */

/* ---- looking ------------------------------------------------------------- */

static void count_finding(void *arg, const char *line)
{
	uint64_t *n = arg;

	if (strncmp(line, "Leaked", 6) && !strstr(line, "OFLAG_COPIED"))
		++*n;
}

static uint64_t what_is_wrong(struct mended *m, struct hostfile *f)
{
	struct image *img = crash_must_open(f, m->scene->format, IMG_O_CHECK);
	struct err e = ERR_INIT;
	struct img_check found;
	uint64_t n = 0;

	assert_ok(img_check(img, &found, count_finding, &n, &e), &e);
	img_drop(img);
	return min_u64(n, found.corruptions);
}

static void read_disk(struct mended *m)
{
	struct image *img = crash_must_open(m->file, m->scene->format, 0);

	for (uint64_t at = 0; at < m->scene->size; at += MENDED_UNIT) {
		struct err e = ERR_INIT;

		m->readable[at / MENDED_UNIT] =
		    !img_pread(img, m->want + at, MENDED_UNIT, at, &e);
	}
	img_drop(img);
}

void mended_expect(struct mended *m, struct hostfile *f)
{
	struct image *img = crash_must_open(f, m->scene->format, 0);
	uint8_t got[MENDED_UNIT];

	for (uint64_t at = 0; at < m->scene->size; at += MENDED_UNIT) {
		struct err e = ERR_INIT;

		if (!m->readable[at / MENDED_UNIT])
			continue;
		assert_ok(img_pread(img, got, MENDED_UNIT, at, &e), &e);
		assert_memory_equal(got, m->want + at, MENDED_UNIT);
	}
	img_drop(img);
}

int mended_repair(struct mended *m, struct hostfile *f, struct img_check *found,
    struct err *e)
{
	struct image *img =
	    crash_open(f, m->scene->format, IMG_O_CHECK | IMG_O_RDWR, e);
	struct err closing = ERR_INIT;
	int rc;

	if (!img)
		return -1;
	rc = img_repair(img, m->damage->what, found, NULL, NULL, e);
	return img_close(img, &closing) && !rc ? -1 : rc;
}

/* An image whose repair was broken off. */
static void judge(struct mended *m, struct hostfile *f)
{
	struct err e = ERR_INIT;
	struct img_check found;

	mended_expect(m, f);
	assert_true(what_is_wrong(m, f) <=
		    m->wrong + crash_unclosed_n(m->scene->format));
	assert_ok(mended_repair(m, f, &found, &e), &e);
	assert_true(found.corruptions <= m->remain);
	assert_int_equal(found.check_errors, 0);
	if (!strcmp(m->scene->format, "qcow2"))
		assert_int_equal(found.leaks, 0);
	mended_expect(m, f);
	m->image_n++;
}

static void go_on(struct mended *m, struct hostfile *f)
{
	struct image *img = crash_must_open(f, m->scene->format, IMG_O_RDWR);
	struct err e = ERR_INIT;

	assert_ok(img_pwrite(img, m->want, 70000, 1000, 0, &e), &e);
	assert_ok(img_close(img, &e), &e);
	assert_int_equal(what_is_wrong(m, f), 0);
}

/* ---- what is done -------------------------------------------------------- */

/* Data in all of it, or here and there where that would be much. */
static void fill(struct mended *m, uint64_t seed)
{
	struct image *img =
	    crash_must_open(m->file, m->scene->format, IMG_O_RDWR);
	uint64_t len = min_u64(m->scene->size, 400 * KiB);
	struct rng r = {.state = seed};
	struct err e = ERR_INIT;

	rng_fill(&r, m->want, len);
	assert_ok(img_pwrite(img, m->want, len, 0, 0, &e), &e);
	if (!strcmp(m->scene->format, "qcow2")) {
		assert_ok(img_snapshot_create(img, "s", &e), &e);
		assert_ok(img_pwrite(img, m->want, len / 3, 100, 0, &e), &e);
	}
	for (uint64_t at = len; at + 5000 < m->scene->size; at += 300 * KiB)
		assert_ok(
		    img_pwrite(img, m->want + at % 1000, 5000, at, 0, &e), &e);
	assert_ok(img_close(img, &e), &e);
}

/* What a repair makes of it, tried on a copy. */
static void try_out(struct mended *m)
{
	struct err e = ERR_INIT;
	struct hostfile *trial = host_open_memory("trial", 0, &e);
	struct img_check found;

	assert_ok(hostio_copy(trial, m->file, &e), &e);
	assert_ok(mended_repair(m, trial, &found, &e), &e);
	m->remain = found.corruptions;
	if (!m->damage->stays)
		assert_int_equal(found.corruptions, 0);
	mended_expect(m, trial);
	if (!m->remain)
		go_on(m, trial);
	host_put(trial);
}

static void make(struct mended *m)
{
	const struct mended_scene *s = m->scene;
	struct err e = ERR_INIT;

	m->crash = crashfile_new(&e);
	assert_no_error(&e);
	crash_create(m->crash, s->format, s->size, s->options, NULL);
	m->file = crashfile_host(m->crash);
	crash_small_blocks(m->file, s->format, s->size);
}

/* A plain file with the same bytes. */
static void leave_crash(struct mended *m)
{
	struct err e = ERR_INIT;
	struct hostfile *f = host_open_memory("disk", 0, &e);

	assert_ok(hostio_copy(f, m->file, &e), &e);
	host_put(m->file);
	crashfile_free(m->crash);
	m->crash = NULL;
	m->file = f;
}

void mended_begin(struct mended *m, const struct mended_scene *scene,
    const struct mended_damage *damage, bool crash, uint64_t seed)
{
	struct rng r = {.state = seed};
	struct err e = ERR_INIT;

	*m = (struct mended){.scene = scene, .damage = damage};
	m->want = calloc(1, scene->size);
	m->readable = calloc(scene->size / MENDED_UNIT, sizeof *m->readable);
	assert_true(m->want && m->readable);
	make(m);
	fill(m, seed);
	damage->fn(m->file, &r);
	assert_ok(host_sync(m->file, &e), &e);
	if (!crash)
		leave_crash(m);
	read_disk(m);
	m->wrong = what_is_wrong(m, m->file);
	try_out(m);
}

void mended_end(struct mended *m)
{
	host_put(m->file);
	if (m->crash)
		crashfile_free(m->crash);
	free(m->want);
	free(m->readable);
}

/* ---- crashes ------------------------------------------------------------- */

static void look(void *arg, uint64_t seed)
{
	struct mended *m = arg;
	struct err e = ERR_INIT;
	struct hostfile *f = crashfile_image(m->crash, seed, &e);

	assert_no_error(&e);
	judge(m, f);
	host_put(f);
}

void mended_crashes(const struct mended_scene *scene,
    const struct mended_damage *damage, uint64_t seed)
{
	struct mended m;
	struct crash_watch watch = {IMAGES, look, &m};
	struct err e = ERR_INIT;
	struct img_check found;

	mended_begin(&m, scene, damage, true, seed);
	crash_watch(m.crash, &watch);
	assert_ok(mended_repair(&m, m.file, &found, &e), &e);
	assert_true(m.image_n >= IMAGES);
	crashfile_on_sync(m.crash, NULL, NULL);
	judge(&m, m.file);
	mended_end(&m);
}

/* ---- faults -------------------------------------------------------------- */

static const struct way {
	unsigned kinds;
	int errnum;
	bool stays;
} ways[] = {
    {FAULT_READ | FAULT_MAP, EIO, false},
    {FAULT_WRITE, EIO, false},
    {FAULT_SYNC, EIO, false},
    {FAULT_CHANGES & ~FAULT_SYNC, ENOSPC, true},
};

/* False when there was no Nth call. */
static bool fault(struct mended *m, const struct way *way, uint64_t n)
{
	struct err e = ERR_INIT, failed = ERR_INIT;
	struct hostfile *under = host_open_memory("disk", 0, &e), *f;
	struct img_check found;
	bool hit;
	int rc;

	assert_ok(hostio_copy(under, m->file, &e), &e);
	f = faultfile_new(host_ref(under), &e);
	assert_no_error(&e);
	faultfile_fail(f, way->kinds, n, way->errnum, way->stays);
	rc = mended_repair(m, f, &found, &failed);
	hit = faultfile_hit(f);
	host_put(f);
	assert_true(hit || !rc);
	judge(m, under);
	host_put(under);
	return hit;
}

void mended_faults(const struct mended_scene *scene,
    const struct mended_damage *damage, uint64_t stride)
{
	struct mended m;

	mended_begin(&m, scene, damage, false, 5);
	for (size_t i = 0; i < ARRAY_N(ways); i++) {
		uint64_t n = 1;

		while (fault(&m, &ways[i], n))
			n += stride;
	}
	mended_end(&m);
}
