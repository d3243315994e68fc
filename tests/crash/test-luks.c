/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Power fails while key slots are filled and erased: the passwords of the other
 * slots still open the image, the data is there, and a slot that is being
 * changed opens with the right password or with none.  With LUKS2 the only slot
 * can be replaced: then the old password or the new one opens it.
 */
#include <errno.h>
#include <stdio.h>

#include "check.h"
#include "crash.h"
#include "effort.h"
#include "formats/core/object.h"
#include "formats/core/units.h"
#include "formats/image.h"
#include "group.h"
#include "tmpdir.h"

#define SEEDS EFFORT(8u, 4u) /* at each sync; two are all and nothing */
#define SIZE  (256 * KiB)

struct format {
	const char *name, *prefix; /* of the options for encryption */
	const char *create;
	unsigned step_n;
};

static const struct format formats[] = {
    {"luks", "", "cipher-alg=aes-128,cipher-mode=cbc,iter-time=0,key-secret=a",
	4},
    {"luks", "",
	"version=2,pbkdf=pbkdf2,cipher-alg=aes-128,iter-time=0,key-secret=a",
	5},
    {"qcow2", "encrypt.",
	"cluster_size=4k,encrypt.format=luks,encrypt.cipher-alg=aes-128,"
	"encrypt.iter-time=0,encrypt.key-secret=a",
	4},
};

/* One change, and who can open the image. */
struct step {
	const char *amend[4]; /* options without their prefix */
	const char *with;     /* the key that it is opened with: always good */
	bool a_after, b_after;
	bool replaces; /* so that it is good no more: then the other one is */
};

static const struct step steps[] = {
    {{"state=active", "new-secret=b", "iter-time=0"}, "a", true, true},
    {{"state=inactive", "old-secret=a"}, "b", false, true},
    /* This slot lies in two sectors. */
    {{"state=active", "new-secret=a", "keyslot=6", "iter-time=0"}, "b", true,
	true},
    {{"state=inactive", "keyslot=6"}, "b", false, true},
    {{"state=active", "new-secret=a", "keyslot=1", "iter-time=0"}, "b", true,
	false, .replaces = true},
};

struct scene {
	struct crashfile *c;
	const struct format *format;
	const struct step *step;
	unsigned image_n;
};

/* ---- opening ------------------------------------------------------------- */

static struct image *open_with(const struct format *format, struct hostfile *f,
    const char *key, unsigned flags, struct err *e)
{
	CLEANUP(options) struct options *o = options_new(e);
	const struct img_open how = {
	    .format = format->name, .flags = flags, .options = o};
	char name[32];

	snprintf(name, sizeof name, "%skey-secret", format->prefix);
	assert_int_equal(options_set(o, name, key, e), 0);
	return img_open_host(host_ref(f), &how, e);
}

static void fill(uint8_t *buf)
{
	for (size_t i = 0; i < SIZE; i++)
		buf[i] = (uint8_t)(i / 512 + i);
}

/* Does the key open it?  Then the data is there. */
static bool opens(
    const struct format *format, struct hostfile *f, const char *key)
{
	static uint8_t want[SIZE], got[SIZE];
	struct err e = ERR_INIT;
	struct image *img = open_with(format, f, key, 0, &e);

	if (!img && e.errnum != EACCES)
		fail_msg("%s: %s", key, e.msg);
	if (!img)
		return false;
	fill(want);
	assert_ok(img_pread(img, got, SIZE, 0, &e), &e);
	assert_memory_equal(got, want, SIZE);
	assert_ok(img_close(img, &e), &e);
	return true;
}

/* ---- steps --------------------------------------------------------------- */

static void look(void *arg, uint64_t seed)
{
	struct scene *s = arg;
	struct err e = ERR_INIT;
	struct hostfile *f = crashfile_image(s->c, seed, &e);
	bool a, b;

	assert_no_error(&e);
	a = opens(s->format, f, "a");
	b = opens(s->format, f, "b");
	assert_true(s->step->replaces		 ? a || b
		    : strcmp(s->step->with, "a") ? b
						 : a);
	host_put(f);
	s->image_n++;
}

static void amend(struct image *img, const struct scene *s)
{
	CLEANUP(options) struct options *o = NULL;
	struct err e = ERR_INIT;
	char text[64];

	o = options_new(&e);
	for (size_t i = 0; i < ARRAY_N(s->step->amend); i++) {
		if (!s->step->amend[i])
			continue;
		snprintf(text, sizeof text, "%s%s", s->format->prefix,
		    s->step->amend[i]);
		assert_ok(options_parse(o, text, NULL, &e), &e);
	}
	assert_ok(img_amend(img, o, &e), &e);
}

static void run_step(struct scene *s)
{
	struct crash_watch watch = {SEEDS, look, s};
	struct hostfile *f = crashfile_host(s->c);
	struct err e = ERR_INIT;
	unsigned flags = IMG_O_RDWR | (s->step->replaces ? IMG_O_FORCE : 0);
	struct image *img = open_with(s->format, f, s->step->with, flags, &e);

	assert_no_error(&e);
	crash_watch(s->c, &watch);
	amend(img, s);
	crashfile_on_sync(s->c, NULL, NULL);
	assert_ok(img_close(img, &e), &e);
	assert_int_equal(opens(s->format, f, "a"), s->step->a_after);
	assert_int_equal(opens(s->format, f, "b"), s->step->b_after);
	host_put(f);
}

static void write_data(const struct format *format, struct crashfile *c)
{
	static uint8_t buf[SIZE];
	struct hostfile *f = crashfile_host(c);
	struct err e = ERR_INIT;
	struct image *img = open_with(format, f, "a", IMG_O_RDWR, &e);

	assert_no_error(&e);
	fill(buf);
	assert_ok(img_pwrite(img, buf, SIZE, 0, 0, &e), &e);
	assert_ok(img_close(img, &e), &e);
	host_put(f);
}

static void crashes(void **state)
{
	struct scene s = {.format = *state};
	struct err e = ERR_INIT;

	s.c = crashfile_new(&e);
	assert_no_error(&e);
	crash_create(s.c, s.format->name, SIZE, s.format->create, NULL);
	write_data(s.format, s.c);
	for (size_t i = 0; i < s.format->step_n; i++) {
		s.step = &steps[i];
		run_step(&s);
	}
	print_message("%s: %u images\n", s.format->create, s.image_n);
	/* Each step has a sync before and after what the header says. */
	assert_true(s.image_n >= 2 * SEEDS * s.format->step_n);
	crashfile_free(s.c);
}

static void make_secret(const char *text)
{
	struct err e = ERR_INIT;
	char *help;

	assert_ok(object_add(text, &help, &e), &e);
}

int main(void)
{
	struct group g = {0};

	tmpdir_enter();
	make_secret("secret,id=a,data=first");
	make_secret("secret,id=b,data=second");
	for (size_t i = 0; i < ARRAY_N(formats); i++)
		group_add(&g, formats[i].create, crashes, &formats[i]);
	return group_run(&g, "luks");
}
