/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A temporary image above the one that is served: see scratch.h.
 *
 * It is a qcow2 file in $TMPDIR, or /var/tmp, that is unlinked as soon as it is
 * open.  Nothing in it has to last: a flush does nothing.
 */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "scratch.h"

/* The name of what is below, for an image in another folder.  malloc'd */
static char *below_name(const struct export_spec *spec, struct err *e)
{
	CLEANUP(options) struct options *o = NULL;
	const char *path = spec->file;
	char *name;

	if (spec->image_opts) {
		o = options_new(e);
		if (!o || options_parse(o, spec->file, "driver", e))
			return NULL;
		return options_json(o, e);
	}
	if (img_is_remote(path) || !strncmp(path, "json:", 5)) {
		name = strdup(path);
		if (!name)
			err_nomem(e);
		return name;
	}
	if (!strncmp(path, "file:", 5))
		path += 5;
	name = realpath(path, NULL);
	if (!name)
		err_sys(e, errno, "Could not open '%s'", path);
	return name;
}

/* Options that make an empty image above that one. */
static struct options *describe(
    const char *name, const struct image *below, struct err *e)
{
	struct options *o = options_new(e);
	char size[24];

	snprintf(
	    size, sizeof size, "%llu", (unsigned long long)img_size(below));
	if (o && !options_set(o, "size", size, e) &&
	    !options_set(o, "backing_file", name, e) &&
	    !options_set(o, "backing_fmt", img_format(below), e))
		return o;
	options_free(o);
	return NULL;
}

static struct image *open_above(const char *path, struct options *o,
    const struct img_open *below, struct err *e)
{
	struct img_open how = {.format = "qcow2",
	    .flags = below->flags,
	    .gate = below->gate == IMG_GATE_DENY ? IMG_GATE_OWN : below->gate,
	    .cache = IMG_CACHE_UNSAFE};

	if (img_create(path, how.format, o, IMG_CREATE_UNCHECKED, e))
		return NULL;
	return img_open(path, &how, e);
}

struct image *scratch_open(
    const struct export_spec *spec, const struct image *below, struct err *e)
{
	const char *dir = getenv("TMPDIR");
	CLEANUP_FREE char *name = below_name(spec, e);
	CLEANUP(options)
	struct options *o = name ? describe(name, below, e) : NULL;
	char path[PATH_MAX];
	struct image *img;
	int fd;

	if (!o)
		return NULL;
	if (snprintf(path, sizeof path, "%s/imgd.XXXXXX",
		dir && *dir ? dir : "/var/tmp") >= PATH_MAX) {
		err_sys(e, ENAMETOOLONG, "%s", dir);
		return NULL;
	}
	fd = mkstemp(path);
	if (fd < 0) {
		err_sys(e, errno, "Could not create temporary file '%s'", path);
		return NULL;
	}
	close(fd);
	img = open_above(path, o, &spec->open, e);
	unlink(path);
	return img;
}
