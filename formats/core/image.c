/* SPDX-License-Identifier: BSD-3-Clause */
/* The image object: life and facts. */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../crypto/cipher.h"
#include "../host/nbd_name.h"
#include "image.h"
#include "open.h"
#include "packed.h"
#include "request.h"
#include "state.h"
#include "tables.h"

struct image *image_new(struct hostfile *f, const struct driver *drv,
    const struct img_open *how, struct err *e)
{
	struct image *img = calloc(1, sizeof *img);

	if (!img)
		goto nomem;
	img->name = strdup(f->name);
	img->packed = packed_new(e);
	if (!img->name || !img->packed)
		goto nomem;
	img->drv = drv;
	img->file = f;
	img->flags = how->flags;
	if (!(f->flags & HOST_RDWR))
		img->flags &= ~IMG_O_RDWR;
	img->host_flags = open_host_flags(how);
	img->open_gate = how->gate;
	img->cache = how->cache;
	img->snapshot = how->snapshot;
	img->unit = 1;
	gate_init(&img->gate);
	range_init(&img->ranges);
	rwlock_init(&img->meta);
	pin_init(&img->pin);
	quarantine_init(&img->quarantine);
	bitmaps_init(&img->bitmaps);
	mutex_init(&img->first_lock);
	atomic_init(&img->first_done, !drv->first_write);
	mutex_init(&img->commit_lock);
	return img;
nomem:
	if (img) {
		packed_free(img->packed);
		free(img->name);
	}
	free(img);
	err_nomem(e);
	return NULL;
}

void image_destroy(struct image *img)
{
	if (!img)
		return;
	assert_image_idle(img);
	image_destroy(img->backing);
	if (img->opened)
		img->drv->close(img);
	cipher_free(img->cipher);
	host_put(img->file);
	packed_free(img->packed);
	mutex_destroy(&img->first_lock);
	mutex_destroy(&img->commit_lock);
	bitmaps_destroy(&img->bitmaps);
	quarantine_destroy(&img->quarantine);
	rwlock_destroy(&img->meta);
	range_destroy(&img->ranges);
	gate_destroy(&img->gate);
	free(img->backing_name);
	free(img->backing_fmt);
	free(img->backing_full);
	free(img->tree_name);
	free(img->name);
	free(img);
}

/*
 * The last flush.  A first commit makes the tables durable and lets retired
 * space go; then the bitmaps may say that they are right; stop() writes the
 * counts that both lowered.
 */
static int finish(struct image *img, struct err *e)
{
	if (!image_writable(img))
		return 0;
	if (image_commit(img, e) || bitmaps_finish(img, e))
		return -1;
	return img->drv->stop ? img->drv->stop(img, e) : 0;
}

int img_close(struct image *img, struct err *e)
{
	struct hostfile *f = host_ref(img->file);
	struct image *below = img->backing;
	int rc = finish(img, e);

	img->backing = NULL;
	image_destroy(img);
	/* The last reference: late write errors show here. */
	if (host_close(f, e))
		rc = -1;
	return below && img_close(below, e) ? -1 : rc;
}

void img_drop(struct image *img)
{
	struct err ignored = ERR_INIT;

	if (img)
		img_close(img, &ignored);
}

bool img_is_remote(const char *name)
{
	return nbd_is_name(name);
}

bool name_has_protocol(const char *name)
{
	const char *colon = strchr(name, ':'), *slash = strchr(name, '/');

	return colon && (!slash || colon < slash);
}

char *image_resolve(const char *base, const char *name, struct err *e)
{
	const char *slash = strrchr(base, '/');
	char *out = NULL;
	int rc;

	if (nbd_is_name(base) && name[0] != '/' && !name_has_protocol(name)) {
		err_unsupported(
		    e, "Cannot generate a base directory for NBD nodes");
		return NULL;
	}
	if (!slash || name[0] == '/' || name_has_protocol(name))
		rc = asprintf(&out, "%s", name);
	else
		rc = asprintf(&out, "%.*s/%s", (int)(slash - base), base, name);
	if (rc >= 0)
		return out;
	err_nomem(e);
	return NULL;
}

const char *image_skip_here(const char *name)
{
	while (name[0] == '.' && name[1] == '/')
		name += 1 + strspn(name + 1, "/");
	return name;
}

/* ---- facts -------------------------------------------------------------- */

uint64_t img_size(const struct image *img)
{
	return atomic_load_explicit(
	    (_Atomic uint64_t *)&img->size, memory_order_acquire);
}

const char *img_name(const struct image *img)
{
	return img->name;
}

const char *img_format(const struct image *img)
{
	return img->drv->info.name;
}

bool img_writable(const struct image *img)
{
	return image_writable(img);
}

void img_set_progress(struct image *img, struct img_progress progress)
{
	img->progress = progress;
}

void image_work_begin(struct image *img, uint64_t total)
{
	img->work_done = 0;
	img->work_total = total;
}

int image_work(struct image *img, uint64_t n, struct err *e)
{
	const struct img_progress *p = &img->progress;

	img->work_done += min_u64(n, img->work_total - img->work_done);
	if (!p->step || !p->step(p->arg, img->work_done, img->work_total))
		return 0;
	return err_set(e, ERR_SYSTEM, ECANCELED, "stopped");
}

bool img_probed_raw(const struct image *img)
{
	return img->probed && !strcmp(img->drv->info.name, "raw");
}

char *img_probed_raw_warning(const char *name)
{
	char shown[2 * PATH_MAX], *text;

	err_show(shown, sizeof shown, name, "");
	if (asprintf(&text,
		"Image format was not specified for '%s' and probing guessed "
		"raw.\n"
		"         Automatically detecting the format is dangerous for "
		"raw images, write operations on block 0 will be restricted.\n"
		"         Specify the 'raw' format explicitly to remove the "
		"restrictions.",
		shown) < 0)
		return NULL;
	return text;
}

struct image *img_backing(struct image *img)
{
	return img->backing;
}

uint32_t img_cluster_size(const struct image *img)
{
	return img->unit > 1 ? img->unit : 0;
}

static int backing_facts(struct image *img, struct img_info *out, struct err *e)
{
	out->backing = img->backing_name;
	out->backing_format = img->backing_fmt;
	if (!img->backing_name)
		return 0;
	rwlock_excl(&img->meta);
	if (!img->backing_full)
		img->backing_full =
		    image_resolve(img->name, img->backing_name, e);
	out->backing_full = img->backing_full;
	rwlock_excl_end(&img->meta);
	if (!out->backing_full && e->kind == ERR_UNSUPPORTED)
		err_clear(e);
	return err_is_set(e) ? -1 : 0;
}

static int facts(struct image *img, struct img_info *out, struct err *e)
{
	*out = (struct img_info){
	    .filename = img->tree_name ? img->tree_name : img->name,
	    .format = img->drv->info.name,
	    .virtual_size = img_size(img),
	    .actual_size = host_disk_len(img->file),
	    .dirty = -1,
	    .protocol = img->file->ops->name,
	    .host_name = img->file->name,
	    .host_len = host_size(img->file)};
	if (backing_facts(img, out, e))
		return -1;
	return img->drv->describe ? img->drv->describe(img, out, e) : 0;
}

int image_wrong_parent(const struct image *img, const char *what,
    const char *is, const char *was, struct err *e)
{
	err_set(e, ERR_DAMAGED, EINVAL,
	    "%s: the parent %s is not what it was: its %s is %s, must be %s",
	    img->name, img->backing->name, what, is, was);
	if (img->drv->set_backing)
		err_hint(e,
		    "If that does not matter: rebase -u with the same name.");
	return -1;
}

int img_info(struct image *img, struct img_info *out, struct err *e)
{
	int rc;

	gate_enter(&img->gate);
	rc = facts(img, out, e);
	gate_leave(&img->gate);
	return rc;
}

void img_info_clear(struct img_info *i)
{
	json_decref(i->specific);
	i->specific = NULL;
}

static const struct {
	const char *text;
	enum img_cache mode;
} cache_names[] = {
    {"writeback", IMG_CACHE_WRITEBACK},
    {"none", IMG_CACHE_NONE},
    {"off", IMG_CACHE_NONE},
    {"writethrough", IMG_CACHE_WRITETHROUGH},
    {"directsync", IMG_CACHE_DIRECTSYNC},
    {"unsafe", IMG_CACHE_UNSAFE},
};

bool img_cache_parse(const char *text, enum img_cache *out)
{
	for (unsigned i = 0; i < ARRAY_N(cache_names); i++) {
		if (strcmp(text, cache_names[i].text))
			continue;
		*out = cache_names[i].mode;
		return true;
	}
	return false;
}

bool img_prealloc_parse(const char *text, enum img_prealloc *out)
{
	static const char *const name[] = {"off", "metadata", "falloc", "full"};

	for (unsigned i = 0; i < ARRAY_N(name); i++) {
		if (strcmp(text, name[i]))
			continue;
		*out = (enum img_prealloc)i;
		return true;
	}
	return false;
}
