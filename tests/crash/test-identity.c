/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Power fails while a disk is changed whose contents have an identity, which
 * those that stand on it know.  Whatever is found: where the disk reads other
 * than before the session, or has another size, it has another identity, and
 * that is whole.
 */
#include <stdlib.h>
#include <unistd.h>

#include "check.h"
#include "crash.h"
#include "crashdisk.h"
#include "formats/core/units.h"
#include "formats/image.h"
#include "group.h"
#include "rng.h"
#include "tmpdir.h"

#define SIZE   (3 * MiB) /* of the disk at first; it is never longer */
#define IMAGES 6u	 /* at each sync */
#define ID_LEN 16u

struct id {
	uint8_t byte[ID_LEN];
};

static struct id vdi_id(struct hostfile *f)
{
	struct err e = ERR_INIT;
	struct id id;

	assert_ok(host_pread(f, id.byte, ID_LEN, 408, &e), &e);
	return id;
}

/* The header with the higher sequence number is in force: none is torn that is
 * said to be. */
static struct id vhdx_id(struct hostfile *f)
{
	struct err e = ERR_INIT;
	uint8_t head[2][64];
	unsigned i;
	struct id id;

	for (i = 0; i < 2; i++)
		assert_ok(host_pread(f, head[i], sizeof head[i],
			      (i + 1) * 64 * KiB, &e),
		    &e);
	i = le64(head[1] + 8) > le64(head[0] + 8);
	memcpy(id.byte, head[i] + 32, ID_LEN);
	return id;
}

/* In a descriptor, which begins the file or its second sector. */
static struct id vmdk_id(struct hostfile *f)
{
	struct err e = ERR_INIT;
	struct id id = {0};
	char text[2048];
	const char *line;

	assert_ok(host_pread(f, text, sizeof text, 0, &e), &e);
	if (!strncmp(text, "KDMV", 4))
		assert_ok(host_pread(f, text, sizeof text,
			      le64((uint8_t *)text + 28) * SECTOR_LEN, &e),
		    &e);
	text[sizeof text - 1] = '\0';
	line = strstr(text, "\nCID=");
	assert_non_null(line);
	assert_int_equal(strspn(line + 5, "0123456789abcdef"), 8);
	memcpy(id.byte, line + 5, 8);
	return id;
}

static const struct parts sparse = {PARTS_SPARSE, 3, MiB},
			  flat = {PARTS_ONE_FLAT, 1, SIZE};

static const struct scene {
	const char *name, *format, *options;
	struct id (*id)(struct hostfile *f);
	const struct parts *parts; /* it has several files */
} scenes[] = {
    {"vdi", "vdi", NULL, vdi_id},
    {"vdi, static", "vdi", "static=on", vdi_id},
    {"vhdx", "vhdx", "block_size=1M", vhdx_id},
    {"vhdx, fixed", "vhdx", "block_size=1M,subformat=fixed", vhdx_id},
    {"vmdk", "vmdk", NULL, vmdk_id},
    {"vmdk stream", "vmdk", "subformat=streamOptimized", vmdk_id},
    {"vmdk, sparse files", "vmdk", NULL, vmdk_id, &sparse},
    {"vmdk, flat file", "vmdk", NULL, vmdk_id, &flat},
};

struct world {
	const struct scene *scene;
	struct crashdisk disk;
	uint8_t *start; /* SIZE: what it reads before the session ... */
	uint64_t size;	/* ... and has bytes */
	struct id id;
	struct rng rng;
	unsigned image_n, other_n;
};

/* ---- what is found ------------------------------------------------------- */

/* What it reads, malloc'd. */
static uint8_t *read_disk(
    const struct world *w, struct hostfile *f, uint64_t *size)
{
	struct image *img = crash_must_open(f, w->scene->format, 0);
	uint8_t *buf = calloc(1, SIZE);
	struct err e = ERR_INIT;

	assert_non_null(buf);
	*size = img_size(img);
	assert_true(*size <= SIZE);
	assert_ok(img_pread(img, buf, *size, 0, &e), &e);
	assert_ok(img_close(img, &e), &e);
	return buf;
}

static void look(void *arg, uint64_t seed)
{
	struct world *w = arg;
	struct hostfile *f = crashdisk_image(&w->disk, seed);
	uint64_t size;
	CLEANUP_FREE uint8_t *got = read_disk(w, f, &size);
	struct id id = w->scene->id(f);

	if (size != w->size || memcmp(got, w->start, SIZE)) {
		w->other_n++;
		if (!memcmp(&id, &w->id, sizeof id))
			fail_msg("seed %llu: it is another one, and says that "
				 "it is not",
			    (unsigned long long)seed);
	}
	w->image_n++;
	host_put(f);
}

/* ---- what is done -------------------------------------------------------- */

static void write_one(struct world *w, struct image *img)
{
	uint8_t piece[5000];
	uint64_t off = rng_below(&w->rng, img_size(img) - sizeof piece);
	struct err e = ERR_INIT;

	rng_fill(&w->rng, piece, sizeof piece);
	assert_ok(img_pwrite(img, piece, sizeof piece, off, 0, &e), &e);
}

static void zero_one(struct world *w, struct image *img)
{
	uint64_t off = rng_below(&w->rng, img_size(img) - 200000);
	struct err e = ERR_INIT;

	assert_ok(img_zero(img, 200000, off, IMG_MAY_TRIM, &e), &e);
}

static void trim_all(struct world *w, struct image *img)
{
	struct err e = ERR_INIT;

	(void)w;
	assert_ok(img_trim(img, img_size(img), 0, 0, &e), &e);
}

static void grow(struct world *w, struct image *img)
{
	struct err e = ERR_INIT;

	(void)w;
	assert_ok(img_resize(img, SIZE, IMG_PREALLOC_OFF, &e), &e);
}

static void shrink(struct world *w, struct image *img)
{
	struct err e = ERR_INIT;

	(void)w;
	if (w->scene->options && strstr(w->scene->options, "stream"))
		return;
	assert_ok(img_resize(img, SIZE - MiB, IMG_PREALLOC_OFF, &e), &e);
}

/* What a session begins with; a write follows. */
static void (*const first[])(struct world *, struct image *) = {
    write_one, zero_one, trim_all, shrink, grow};

static void session(
    struct world *w, void (*begin)(struct world *, struct image *))
{
	struct crash_watch watch = {IMAGES, look, w};
	struct err e = ERR_INIT;
	struct image *img;

	w->start = read_disk(w, w->disk.host, &w->size);
	w->id = w->scene->id(w->disk.host);
	crashdisk_watch(&w->disk, &watch);
	img = crash_must_open(
	    w->disk.host, w->scene->format, IMG_O_RDWR | IMG_O_DISCARD);
	begin(w, img);
	crash_look(&watch, 1);
	write_one(w, img);
	assert_ok(img_flush(img, &e), &e);
	look(w, 0);
	assert_ok(img_close(img, &e), &e);
	look(w, 0);
	crashdisk_watch_end(&w->disk);
	free(w->start);
}

static void sessions(void **state)
{
	struct world w = {.scene = *state, .rng = {11}};

	crashdisk_new(&w.disk, w.scene->parts);
	if (!w.scene->parts)
		crash_create(
		    w.disk.c, w.scene->format, SIZE, w.scene->options, NULL);
	session(&w, write_one);
	for (size_t i = 0; i < ARRAY_N(first); i++)
		session(&w, first[i]);
	print_message("%u images, %u changed\n", w.image_n, w.other_n);
	assert_true(w.other_n > 3 * ARRAY_N(first));
	crashdisk_free(&w.disk);
}

int main(void)
{
	struct group g = {0};

	tmpdir_enter();
	for (size_t i = 0; i < ARRAY_N(scenes); i++)
		group_add(&g, scenes[i].name, sessions, &scenes[i]);
	return group_run(&g, "identity");
}
