/* SPDX-License-Identifier: BSD-3-Clause */
/* An image under test: see subject.h. */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base.h"
#include "check.h"
#include "formats/core/object.h"
#include "subject.h"

#define FILE_NAME "disk.img"

void subject_fail(struct subject *s, const char *fmt, ...)
{
	char text[2048];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	fail_msg("%s: seed %llu, step %u, %s: %s", s->g->name,
	    (unsigned long long)s->seed, s->step, s->op, text);
	abort(); /* not reached */
}

void subject_must(struct subject *s, int64_t rc)
{
	if (rc < 0)
		subject_fail(s, "failed: %s", s->e.msg);
	if (err_is_set(&s->e))
		subject_fail(s, "has an error set: %s", s->e.msg);
}

static struct options *open_options(struct subject *s)
{
	const char *key = geometry_key(s->g);
	struct options *o = options_new(&s->e);

	if (key)
		subject_must(s, options_parse(o, key, NULL, &s->e));
	return o;
}

void subject_open(struct subject *s, const struct img_open *how)
{
	CLEANUP(options) struct options *o = open_options(s);
	struct img_open with = *how;

	with.options = o;
	s->img = img_open_host(host_ref(s->file), &with, &s->e);
	subject_must(s, s->img ? 0 : -1);
}

void subject_close(struct subject *s)
{
	int rc = img_close(s->img, &s->e);

	s->img = NULL;
	subject_must(s, rc);
}

/* A disk size that no create makes: of any number of bytes. */
static void cut_disk(struct subject *s)
{
	uint8_t size[8];

	if (!s->g->cut)
		return;
	put_be64(size, s->oracle.size);
	if (!strncmp(s->g->format, "qcow", 4))
		subject_must(s, host_pwrite(s->file, size, 8, 24, &s->e));
	else
		subject_must(s, host_truncate(s->file, s->oracle.size, &s->e));
}

static void make_secret(struct subject *s)
{
	char *help;

	if (!object_find(GEOMETRY_SECRET))
		subject_must(
		    s, object_add(GEOMETRY_SECRET_OBJECT, &help, &s->e));
}

static void create(struct subject *s, const char *base, const char *base_fmt)
{
	CLEANUP(options) struct options *o = options_new(&s->e);
	char size[24];

	snprintf(size, sizeof size, "%llu", (unsigned long long)s->g->size);
	subject_must(s, options_set(o, "size", size, &s->e));
	subject_must(s, options_set(o, "backing_file", base, &s->e));
	subject_must(s, options_set(o, "backing_fmt", base_fmt, &s->e));
	if (s->g->options)
		subject_must(s, options_parse(o, s->g->options, NULL, &s->e));
	subject_must(s, img_create_host(s->file, s->g->format, o, &s->e));
}

void subject_make(struct subject *s, const struct geometry *g, uint64_t seed)
{
	const char *base = NULL, *base_fmt = NULL;

	*s = (struct subject){.g = g, .seed = seed, .rng = {seed}};
	snprintf(s->op, sizeof s->op, "create");
	oracle_init(&s->oracle, g->size - g->cut);
	s->base = calloc(1, s->oracle.size);
	assert_non_null(s->base);
	if (g->base) {
		base_make(
		    g->base, s->oracle.size, seed, s->base, &base, &base_fmt);
		oracle_write(&s->oracle, s->base, s->oracle.size, 0);
	}
	s->file =
	    g->files ? host_open_file(FILE_NAME, HOST_RDWR | HOST_CREATE, &s->e)
		     : host_open_memory(FILE_NAME, 0, &s->e);
	subject_must(s, s->file ? 0 : -1);
	make_secret(s);
	create(s, base, base_fmt);
	cut_disk(s);
	subject_open(s, &(struct img_open){.flags = IMG_O_RDWR});
	if (img_format_find(g->format)->born_random)
		subject_must(s, img_zero(s->img, s->oracle.size, 0, 0, &s->e));
	if (img_size(s->img) != s->oracle.size)
		subject_fail(s, "the disk has %llu bytes",
		    (unsigned long long)img_size(s->img));
}

void subject_free(struct subject *s)
{
	static const char *const files[] = {FILE_NAME, "data.raw",
	    "disk-flat.img", "disk-f001.img", "disk-s001.img"};

	img_drop(s->img);
	host_put(s->file);
	oracle_free(&s->oracle);
	free(s->base);
	while (s->snapshot_n)
		free(s->snapshot[--s->snapshot_n]);
	for (size_t i = 0; i < ARRAY_N(files); i++)
		unlink(files[i]);
	base_remove();
}
