/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Power failures while the descriptor inside a VMDK image is changed: another
 * parent, another size, a new CID, and that of a parent which gets what its
 * child has.  What could be found afterwards opens, for reading and for
 * writing, with the parent as it is then; has the old or the new name and size;
 * reads as before; and its descriptor is where others look for it as soon as it
 * was open for writing.
 */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "check.h"
#include "crash.h"
#include "formats/core/units.h"
#include "formats/image.h"
#include "rng.h"
#include "tmpdir.h"

#define DISK_LEN (2 * MiB)
#define LOOK_LEN (3 * MiB)
#define IMAGES	 6u /* at each sync */
#define BASE	 "base.vmdk"
#define COPY	 "copy.vmdk" /* of it, which nobody has locked */

struct world {
	struct crashfile *c;
	struct hostfile *host;
	struct image *img;
	uint8_t bytes[LOOK_LEN]; /* the disk, zeroes behind it */
	uint64_t old, new;	 /* sizes that it may have */
	char *name[2];		 /* of the parent: either; NULL: none */
	struct rng rng;
	unsigned image_n;
	const char *step;
};

static struct image *open_on(struct hostfile *f, const char *parent,
    unsigned flags, unsigned depth, struct err *e)
{
	CLEANUP(options) struct options *o = options_new(e);
	const struct img_open how = {.format = "vmdk",
	    .flags = flags,
	    .writable_depth = depth,
	    .options = o};

	if (parent) {
		assert_ok(options_set(o, "backing.driver", "vmdk", e), e);
		assert_ok(
		    options_set(o, "backing.file.filename", parent, e), e);
	}
	return img_open_host(host_ref(f), &how, e);
}

/* ---- a crash image ------------------------------------------------------- */

static bool is_name(const struct world *w, const char *found)
{
	for (unsigned i = 0; i < 2; i++)
		if (found ? w->name[i] && !strcmp(found, w->name[i])
			  : !w->name[i])
			return true;
	return false;
}

static int check_facts(const struct world *w, struct image *img, struct err *e)
{
	uint64_t size = img_size(img);
	struct img_info info;
	int rc = 0;

	if (size != w->old && size != w->new)
		return err_damaged(
		    e, "the disk has %llu bytes", (unsigned long long)size);
	if (img_info(img, &info, e))
		return -1;
	if (!is_name(w, info.backing))
		rc = err_damaged(e, "its parent is %s", info.backing);
	img_info_clear(&info);
	return rc;
}

static int look_at(
    const struct world *w, struct hostfile *f, unsigned flags, struct err *e)
{
	const char *parent = w->name[0] || w->name[1] ? COPY : NULL;
	CLEANUP_FREE uint8_t *buf = malloc(LOOK_LEN);
	struct image *img = open_on(f, parent, flags, 0, e);
	uint64_t len = img ? min_u64(img_size(img), LOOK_LEN) : 0;
	int rc = -1;

	assert_non_null(buf);
	if (!img)
		return -1;
	if (!check_facts(w, img, e) && !img_pread(img, buf, len, 0, e))
		rc = memcmp(buf, w->bytes, len)
			 ? err_damaged(e, "the disk reads otherwise")
			 : 0;
	return img_close(img, e) ? -1 : rc;
}

/* Others find the descriptor at the second sector. */
static int check_home(struct hostfile *f, struct err *e)
{
	uint8_t head[21 * 512];
	const char *text = (const char *)head + 512;

	if (host_pread(f, head, sizeof head, 0, e))
		return -1;
	if (le64(head + 28) != 1 || le64(head + 36) != 20)
		return err_damaged(e, "the descriptor is elsewhere");
	head[sizeof head - 1] = '\0';
	if (strncmp(text, "# Disk Desc", 11) || strstr(text, "#next"))
		return err_damaged(e, "the descriptor is not settled");
	return 0;
}

static int check_one(const struct world *w, struct hostfile *f, struct err *e)
{
	return look_at(w, f, 0, e) || look_at(w, f, IMG_O_RDWR, e) ||
		       check_home(f, e) || look_at(w, f, 0, e)
		   ? -1
		   : 0;
}

static void copy_base(void)
{
	struct err e = ERR_INIT;
	struct hostfile *from = host_open_file(BASE, 0, &e);
	struct hostfile *to =
	    host_open_file(COPY, HOST_RDWR | HOST_CREATE | HOST_TRUNC, &e);
	size_t len = from ? host_size(from) : 0;
	CLEANUP_FREE uint8_t *buf = malloc(len + 1);

	assert_no_error(&e);
	assert_non_null(buf);
	assert_ok(host_pread(from, buf, len, 0, &e), &e);
	assert_ok(host_pwrite(to, buf, len, 0, &e), &e);
	host_put(from);
	host_put(to);
}

static void on_sync(void *arg, struct crashfile *c, unsigned barrier)
{
	struct world *w = arg;

	copy_base();
	for (unsigned i = 0; i < IMAGES; i++) {
		uint64_t seed = i < 2 ? i : rng_u64(&w->rng) | 2;
		struct err e = ERR_INIT;
		struct hostfile *f = crashfile_image(c, seed, &e);

		assert_no_error(&e);
		if (check_one(w, f, &e))
			fail_msg("%s: sync %u, crash seed %llu: %s", w->step,
			    barrier, (unsigned long long)seed, e.msg);
		host_put(f);
		w->image_n++;
	}
}

/* ---- steps --------------------------------------------------------------- */

static void begin(struct world *w, const char *step)
{
	w->step = step;
	w->old = w->new = img_size(w->img);
	w->name[1] = w->name[0];
	crashfile_on_sync(w->c, on_sync, w);
}

static void end(struct world *w)
{
	struct err e = ERR_INIT;

	assert_ok(img_flush(w->img, &e), &e);
	crashfile_on_sync(w->c, NULL, NULL);
}

/* Opened anew, it has its first write before it. */
static void reopen(struct world *w, const char *parent, unsigned depth)
{
	struct err e = ERR_INIT;

	assert_ok(img_close(w->img, &e), &e);
	w->img = open_on(w->host, parent, IMG_O_RDWR, depth, &e);
	assert_no_error(&e);
}

static void new_cid(struct world *w)
{
	struct err e = ERR_INIT;
	uint64_t off = rng_below(&w->rng, DISK_LEN - 512);

	reopen(w, NULL, 0);
	begin(w, "a new CID");
	/* The same bytes again. */
	assert_ok(img_pwrite(w->img, w->bytes + off, 512, off, 0, &e), &e);
	end(w);
}

/* `len` characters that mean the base; 0: none. */
static void rebase(struct world *w, size_t len)
{
	struct img_rebase job = {.img = w->img};
	struct err e = ERR_INIT;
	char *name = len ? malloc(len + 1) : NULL;

	begin(w, "a parent");
	if (len) {
		memset(name, '/', len);
		memcpy(name, "./", 2);
		strcpy(name + len - strlen(BASE), BASE);
		job.format = "vmdk";
	}
	job.name = name;
	w->name[1] = name;
	assert_ok(img_rebase(&job, &e), &e);
	end(w);
	free(w->name[0]);
	w->name[0] = name;
}

static void resize(struct world *w, uint64_t size)
{
	struct err e = ERR_INIT;

	begin(w, "resize");
	w->new = size;
	assert_ok(img_resize(w->img, size, IMG_PREALLOC_OFF, &e), &e);
	end(w);
}

/* The parent gets what the child has, and another CID. */
static void merge(struct world *w)
{
	struct err e = ERR_INIT;
	struct img_merge job;

	reopen(w, NULL, 1);
	begin(w, "into the parent");
	job = (struct img_merge){.top = w->img, .base = img_backing(w->img)};
	assert_ok(img_merge(&job, &e), &e);
	end(w);
	reopen(w, NULL, 0);
}

/* ---- the test ------------------------------------------------------------ */

static void fill(struct world *w, struct image *img, uint64_t off)
{
	struct err e = ERR_INIT;

	rng_fill(&w->rng, w->bytes + off, 100000);
	assert_ok(img_pwrite(img, w->bytes + off, 100000, off, 0, &e), &e);
}

static void make_base(struct world *w)
{
	struct err e = ERR_INIT;
	CLEANUP(options) struct options *o = options_new(&e);
	const struct img_open how = {.format = "vmdk", .flags = IMG_O_RDWR};
	struct image *img;

	assert_ok(options_set(o, "size", "2M", &e), &e);
	assert_ok(img_create(BASE, "vmdk", o, 0, &e), &e);
	img = img_open(BASE, &how, &e);
	assert_no_error(&e);
	assert_ok(img_pwrite(img, w->bytes, DISK_LEN, 0, 0, &e), &e);
	assert_ok(img_close(img, &e), &e);
}

static void descriptors(void **state)
{
	static struct world w;
	struct err e = ERR_INIT;

	(void)state;
	w.rng = (struct rng){7};
	w.c = crashfile_new(&e);
	assert_no_error(&e);
	w.host = crashfile_host(w.c);
	crash_create(w.c, "vmdk", DISK_LEN, "compat6=off", NULL);
	w.img = open_on(w.host, NULL, IMG_O_RDWR, 0, &e);
	assert_no_error(&e);
	fill(&w, w.img, 70000);
	make_base(&w);
	rebase(&w, strlen(BASE) + 2);
	rebase(&w, 1000);
	new_cid(&w);
	rebase(&w, 300);
	fill(&w, w.img, 600000);
	merge(&w);
	rebase(&w, 900);
	fill(&w, w.img, 300000);
	merge(&w);
	resize(&w, LOOK_LEN - 512);
	resize(&w, DISK_LEN);
	rebase(&w, 0);
	new_cid(&w);
	assert_ok(img_close(w.img, &e), &e);
	print_message("%u images\n", w.image_n);
	assert_true(w.image_n > 200);
	host_put(w.host);
	crashfile_free(w.c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(descriptors),
	};

	tmpdir_enter();
	return cmocka_run_group_tests_name("vmdk", tests, NULL, NULL);
}
