/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Merging the upper layers of a chain into a layer below them.
 *
 * Until the base is durable nothing above it changes, and what the base gets
 * is hidden by the layers that have it: so the top reads the same all the
 * time, also after a crash.
 */
#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "open.h"
#include "request.h"

/* ---- finding the base --------------------------------------------------- */

static bool is_file(const char *path, const struct stat *st)
{
	struct stat x;

	return !stat(path, &x) && x.st_dev == st->st_dev &&
	       x.st_ino == st->st_ino;
}

/* Is it the path of what lies below `above`, as seen from there or from the
 * working folder? */
static bool is_path_of(const char *name, const struct image *above)
{
	struct err ignored = ERR_INIT;
	CLEANUP_FREE char *from_above =
	    image_resolve(above->name, name, &ignored);
	struct stat st;

	if (name_has_protocol(name) || stat(above->backing->file->name, &st))
		return false;
	return is_file(name, &st) || (from_above && is_file(from_above, &st));
}

unsigned img_find_below(struct image *img, const char *name)
{
	unsigned depth = 1;

	for (; img->backing; img = img->backing, depth++) {
		if (!strcmp(name, img->backing->name) ||
		    (img->backing_name && !strcmp(name, img->backing_name)) ||
		    is_path_of(name, img))
			return depth;
	}
	return 0;
}

/* ---- merging ------------------------------------------------------------ */

static bool stands_below(const struct image *top, const struct image *base)
{
	for (const struct image *l = top->backing; l; l = l->backing)
		if (l == base)
			return true;
	return false;
}

static int check_job(const struct img_merge *job, struct err *e)
{
	if (!stands_below(job->top, job->base))
		return err_usage(e, "'%s' is not in the backing chain of '%s'",
		    img_name(job->base), img_name(job->top));
	if (!job->keep && job->top->backing != job->base)
		return err_usage(e,
		    "%s: cannot be emptied: '%s' is not right below it",
		    img_name(job->top), img_name(job->base));
	if (request_check_write(job->base, 0, 0, e))
		return -1;
	return job->keep ? 0 : request_check_write(job->top, 0, 0, e);
}

static int copy(const struct img_merge *job, struct err *e)
{
	struct image *src = job->top;
	const struct img_copy copy_job = {
	    .src = &src,
	    .src_n = 1,
	    .dst = job->base,
	    .len = UINT64_MAX,
	    .backing = true,
	    .sparse_len = 4096,
	    .rate = job->rate,
	    .progress = job->progress,
	};

	return img_copy(&copy_job, e);
}

/* Others that stand on the base are to see that it changes. */
static int renew(struct image *img, void *arg, struct err *e)
{
	(void)arg;
	return img->drv->renew_below(img, e);
}

/* Does the layer on the base know it by an identity? */
static bool is_known(const struct img_merge *job)
{
	const struct image *above = job->top;

	while (above->backing != job->base)
		above = above->backing;
	return above->drv == job->base->drv;
}

/*
 * The layers above hide what changes: what is seen through them stays the
 * same, so it is no first write to the base, whose identity they may know.
 */
static int fill_base(const struct img_merge *job, struct err *e)
{
	bool known = is_known(job);
	bool first_done = atomic_load(&job->base->first_done);
	uint64_t size = round_up(img_size(job->top), SECTOR_LEN);
	int rc = 0;

	if (known)
		atomic_store(&job->base->first_done, true);
	if (size > img_size(job->base))
		rc = img_resize(job->base, size, IMG_PREALLOC_OFF, e);
	if (!rc)
		rc = copy(job, e) || img_flush(job->base, e) ? -1 : 0;
	if (known)
		atomic_store(&job->base->first_done, first_done);
	return rc;
}

static int empty(struct image *img, void *arg, struct err *e)
{
	(void)arg;
	return img->drv->make_empty(img, e);
}

int img_merge(const struct img_merge *job, struct err *e)
{
	struct image *top = job->top;

	if (check_job(job, e))
		return -1;
	if (top->drv->renew_below && top->backing == job->base &&
	    image_writable(top) && request_alone(top, renew, NULL, e))
		return -1;
	if (fill_base(job, e))
		return -1;
	if (job->keep || !top->drv->make_empty)
		return 0;
	return request_alone(top, empty, NULL, e);
}
