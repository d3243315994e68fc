/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Giving an image another backing file.
 *
 * All that is copied lies in the image and is durable before the header names
 * the new file, in one step: after a crash or a stop the old one is named, and
 * what was copied is what that one has.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "image.h"
#include "open.h"
#include "rebase.h"
#include "request.h"
#include "samefile.h"

/* ---- the record --------------------------------------------------------- */

struct record {
	const char *name, *format; /* NULL: none */
	bool trial;
};

static int keep_names(struct image *img, const struct record *r, struct err *e)
{
	char *name = r->name ? strdup(r->name) : NULL;
	char *format = r->format ? strdup(r->format) : NULL;

	if ((r->name && !name) || (r->format && !format)) {
		free(name);
		free(format);
		return err_nomem(e);
	}
	free(img->backing_name);
	free(img->backing_fmt);
	free(img->backing_full);
	img->backing_full = NULL;
	img->backing_name = name;
	img->backing_fmt = format;
	img->has_backing = name;
	return 0;
}

static int call_driver(struct image *img, void *arg, struct err *e)
{
	const struct record *r = arg;

	if (img->drv->set_backing(img, r->name, r->format, r->trial, e))
		return -1;
	return r->trial ? 0 : keep_names(img, r, e);
}

static int write_record(struct image *img, struct record *r, struct err *e)
{
	int rc = 0;

	if (!img->drv->set_backing)
		rc = err_set(
		    e, ERR_UNSUPPORTED, ENOTSUP, "Operation not supported");
	else if (r->name && !r->format)
		rc = err_usage(e, "backing format must be specified");
	else
		rc = request_alone(img, call_driver, r, e);
	if (rc)
		err_prefix(e, "Could not change the backing file to '%s': ",
		    r->name ? r->name : "");
	return rc;
}

int img_set_backing(
    struct image *img, const char *name, const char *format, struct err *e)
{
	struct record r = {.name = name, .format = format};

	return write_record(img, &r, e);
}

/* ---- the new chain ------------------------------------------------------ */

static int check_not_above(
    const struct image *img, const struct image *to, struct err *e)
{
	for (; to; to = to->backing)
		if (same_file(to->file, img->file))
			return err_set(e, ERR_USAGE, ELOOP,
			    "Backing file '%s' creates an infinite loop.",
			    to->name);
	return 0;
}

/* *to stays NULL where there will be none. */
static int open_new(
    const struct img_rebase *job, struct image **to, struct err *e)
{
	struct img_open how = job->how;
	CLEANUP_FREE char *full = NULL;

	if (!job->name)
		return 0;
	full = image_resolve(job->img->name, job->name, e);
	if (!full)
		return -1;
	how.format = job->format;
	how.flags &= ~(IMG_O_RDWR | IMG_O_CHECK);
	*to = open_named_file(full, &how, e);
	if (*to && !check_not_above(job->img, *to, e))
		return 0;
	err_prefix(e, "Could not open new backing file '%s': ", job->name);
	return -1;
}

/* ---- the whole ---------------------------------------------------------- */

static int rebase_onto(
    const struct img_rebase *job, struct image *to, struct err *e)
{
	struct record r = {.name = job->name, .format = job->format};
	struct image *img = job->img;
	bool had_backing = img->has_backing;
	int rc;

	/* Zeroes have to hide what is going to be below. */
	img->has_backing = true;
	rc = rebase_copy(job, to, e);
	img->has_backing = had_backing;
	return rc ? -1 : write_record(img, &r, e);
}

int img_rebase(const struct img_rebase *job, struct err *e)
{
	struct record trial = {
	    .name = job->name, .format = job->format, .trial = true};
	struct image *img = job->img, *to = NULL;
	int rc;

	rc = write_record(img, &trial, e) || open_new(job, &to, e) ||
	     rebase_onto(job, to, e);
	if (rc) {
		img_drop(to);
		return -1;
	}
	img_drop(img->backing);
	img->backing = to;
	return 0;
}
