/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Growing and shrinking a disk.
 *
 * The last extent grows; where the disk is split into files of one length, it
 * becomes as long as they are, and more files follow.  What shrinks loses
 * extents from its end, with their files.
 *
 * A descriptor in a file of its own is replaced as a whole, and that is the
 * moment in which the size changes (I6): what it names is complete before, and
 * what it names no more goes afterwards.  Of a disk in one file it is the write
 * of the header.
 *
 * The gate is closed.
 */
#include "resize.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "../core/map.h"
#include "../core/open.h"
#include "../core/prealloc.h"
#include "../core/read.h"
#include "../core/request.h"
#include "../core/resize.h"
#include "../core/samefile.h"
#include "../core/write.h"
#include "../host/standin.h"
#include "params.h"

/* ---- what can be resized ---------------------------------------------- */

static bool is_split(const struct vmdk *v)
{
	return !strncmp(v->desc.create_type, "twoGbMaxExtent", 14);
}

/* The file of an extent that changes has nothing else in it. */
static int check_extent(
    const struct image *img, const struct vmdk_extent *x, struct err *e)
{
	const struct vmdk *v = vmdk_of(img);

	if (x->kind == VMDK_ZERO || x->kind == VMDK_SE)
		return err_unsupported(e,
		    "%s: extents of type %s cannot be resized: convert it",
		    img->name, x->type);
	for (size_t i = 0; i < v->n; i++)
		if (&v->extent[i] != x && v->extent[i].file &&
		    same_file(v->extent[i].file, x->file))
			return err_unsupported(e,
			    "%s: %s has more than one extent in it: convert it",
			    img->name, x->file->name);
	return 0;
}

static int check(const struct image *img, uint64_t size,
    enum img_prealloc prealloc, struct err *e)
{
	const struct vmdk *v = vmdk_of(img);
	const struct vmdk_extent *x;

	if (!is_aligned(size, SECTOR_LEN) || !size)
		return err_usage(e,
		    "%s: the size of a VMDK disk is a multiple of 512",
		    img->name);
	if (!v->n)
		return err_unsupported(e, "%s: it has no extents", img->name);
	if (v->wrong_parent)
		return vmdk_wrong_parent(img, e);
	x = vmdk_extent_at(v, min_u64(size, img_size(img)) - 1);
	for (; x < v->extent + v->n; x++)
		if (check_extent(img, x, e))
			return -1;
	if (x[-1].kind == VMDK_COW && size - x[-1].guest > VMDK_COWD_LEN_MAX)
		return err_set(e, ERR_USAGE, EFBIG,
		    "%s: extents of type VMFSSPARSE have at most %llu bytes",
		    img->name, (unsigned long long)VMDK_COWD_LEN_MAX);
	if (prealloc != IMG_PREALLOC_OFF && x[-1].kind != VMDK_FLAT)
		return err_unsupported(e,
		    "%s: sparse VMDK images cannot be preallocated", img->name);
	return 0;
}

/* In one file the size changes before the descriptor does: then it has got its
 * new CID already. */
static int announce(struct image *img, struct err *e)
{
	return vmdk_of(img)->embedded ? write_announce(img, e) : 0;
}

/* ---- growing ---------------------------------------------------------- */

/* A disk that grows, and what it was. */
struct growth {
	struct image *img;
	enum img_prealloc prealloc;
	uint64_t size, old_size; /* bytes of the disk */
	size_t old_n;
	uint64_t len, old_len; /* of the extent that was the last */
	uint64_t piece;	       /* bytes of those that follow */
	struct vmdk_dirs dirs;
	FILE *lines; /* of new extents */
};

static struct vmdk_extent *last_old(const struct growth *g)
{
	return &vmdk_of(g->img)->extent[g->old_n - 1];
}

/* How long are the extents that follow each other? */
static uint64_t piece_len(const struct vmdk *v)
{
	uint64_t piece = v->n > 1 ? 0 : VMDK_SPLIT_LEN;

	for (size_t i = 0; i + 1 < v->n; i++)
		piece = max_u64(piece, v->extent[i].len);
	return piece;
}

static int plan(struct growth *g, struct err *e)
{
	const struct vmdk *v = vmdk_of(g->img);
	const struct vmdk_extent *x = last_old(g);

	g->old_len = x->len;
	g->dirs = (struct vmdk_dirs){x->gd_host, x->rgd_host, x->gd_n * 4};
	g->len = g->size - x->guest;
	if (!is_split(v))
		return 0;
	g->piece = piece_len(v);
	g->len = min_u64(g->len, max_u64(g->piece, x->len));
	if (x->guest + g->len == g->size)
		return 0;
	if ((g->size - x->guest - g->len) / g->piece + v->n >= VMDK_EXTENTS_MAX)
		return err_set(e, ERR_USAGE, EFBIG,
		    "%s: it would have more than %u files", g->img->name,
		    VMDK_EXTENTS_MAX);
	if (!is_aligned(g->len, VMDK_GRAIN_LEN) ||
	    (x->kind == VMDK_SPARSE && x->grain_len != VMDK_GRAIN_LEN))
		return err_unsupported(e,
		    "%s: no files with grains of %u bytes can follow its "
		    "extents: convert it",
		    g->img->name, VMDK_GRAIN_LEN);
	return 0;
}

/* An extent in a new file, opened as if it had been there. */
static int open_part(struct growth *g, struct vmdk_extent *x,
    const struct vmdk_params *p, const char *path, struct err *e)
{
	struct image *img = g->img;

	x->kind = p->flat ? VMDK_FLAT : VMDK_SPARSE;
	strcpy(x->type, p->flat ? "FLAT" : "SPARSE");
	x->file = host_open_file(
	    path, img->host_flags | HOST_RDWR | HOST_CREATE | HOST_EXCL, e);
	if (!x->file)
		return -1;
	x->owns_file = true;
	if (open_lock(x->file, e) || vmdk_part_fill(x->file, p, x->len, e) ||
	    host_sync(x->file, e))
		return -1;
	if (p->flat)
		return prealloc_resize(img, x->file, 0, x->len, g->prealloc, e);
	return vmdk_sparse_open(img, x, e) || vmdk_extent_own(img, x, e) ? -1
									 : 0;
}

static int add_part(
    struct growth *g, uint64_t guest, uint64_t len, struct err *e)
{
	struct vmdk *v = vmdk_of(g->img);
	const char *file = g->img->file->name, *slash = strrchr(file, '/');
	const struct vmdk_params p = {.split = true,
	    .flat = last_old(g)->kind == VMDK_FLAT,
	    .zero_gte = last_old(g)->zero_gte};
	CLEANUP_FREE char *name =
	    vmdk_part_name(&p, slash ? slash + 1 : file, (unsigned)v->n + 1, e);
	CLEANUP_FREE char *path =
	    name ? image_resolve(g->img->name, name, e) : NULL;
	struct vmdk_extent *more =
	    path ? reallocarray(v->extent, v->n + 1, sizeof *more) : NULL;

	if (!more)
		return err_is_set(e) ? -1 : err_nomem(e);
	v->extent = more;
	more[v->n] = (struct vmdk_extent){.guest = guest, .len = len};
	vmdk_part_line(g->lines, &p, name, len);
	return open_part(g, &more[v->n++], &p, path, e);
}

static int add_parts(struct growth *g, struct err *e)
{
	CLEANUP_FREE char *real = realpath(g->img->file->name, NULL);
	uint64_t guest = last_old(g)->guest + g->len;

	if (guest == g->size)
		return 0;
	while (guest < g->size) {
		uint64_t len = min_u64(g->piece, g->size - guest);

		if (add_part(g, guest, len, e))
			return -1;
		guest += len;
	}
	return real ? standin_sync_folder(real, e) : 0;
}

/* The descriptor names none of it. */
static void undo(struct growth *g)
{
	struct vmdk *v = vmdk_of(g->img);
	struct vmdk_extent *x = last_old(g);

	while (v->n > g->old_n) {
		struct vmdk_extent *new = &v->extent[--v->n];

		if (new->file)
			unlink(new->file->name);
		vmdk_extent_close(new);
	}
	x->len = g->old_len;
	atomic_store(&g->img->size, g->old_size);
	vmdk_extent_ungrow(g->img, x, &g->dirs);
}

/* What the end of the disk cuts of a packed grain, malloc'd; NULL: nothing.  It
 * may be packed without what lies behind that. */
static int keep_tail(
    struct image *img, struct vmdk_extent *x, uint8_t **tail, struct err *e)
{
	uint64_t start = round_down(x->len, max_u64(x->grain_len, 1));
	struct extent last;

	*tail = NULL;
	if (!x->compressed || start == x->len)
		return 0;
	if (layer_map(img, start, x->len - start, &last, e))
		return -1;
	if (last.kind != EXT_PACKED)
		return 0;
	*tail = calloc(1, x->grain_len);
	if (!*tail)
		return err_nomem(e);
	return read_range(img, *tail, x->len - start, start, e);
}

/* The disk has its new size. */
static int put_tail(
    struct image *img, uint64_t old, const uint8_t *tail, struct err *e)
{
	uint64_t start = round_down(old, img->unit);

	if (!tail)
		return 0;
	return write_range(
	    img, tail, min_u64(img->unit, img_size(img) - start), start, e);
}

/* All of it is there, and reads as it is to; nothing says so. */
static int prepare(struct growth *g, struct err *e)
{
	struct image *img = g->img;
	CLEANUP_FREE uint8_t *tail = NULL;

	if (keep_tail(img, last_old(g), &tail, e) ||
	    vmdk_extent_grow(img, last_old(g), g->len, g->prealloc, e) ||
	    add_parts(g, e))
		return -1;
	last_old(g)->len = g->len;
	atomic_store(&img->size, g->size);
	return put_tail(img, g->old_size, tail, e) ||
		       resize_hide(img, g->old_size, g->size, e) ||
		       image_commit(img, e) || announce(img, e)
		   ? -1
		   : 0;
}

static int grow(
    struct growth *g, char **lines, size_t *lines_len, struct err *e)
{
	struct vmdk *v = vmdk_of(g->img);
	struct err ignored = ERR_INIT;
	int rc;

	g->lines = open_memstream(lines, lines_len);
	if (!g->lines)
		return err_nomem(e);
	rc = prepare(g, e);
	if (fclose(g->lines) && !rc)
		rc = err_nomem(e);
	if (rc) {
		undo(g);
		return -1;
	}
	if (!vmdk_extent_switch(last_old(g), g->len, e) &&
	    !vmdk_desc_resize(g->img, g->old_n, g->len, *lines, g->size, e)) {
		vmdk_extent_forget(last_old(g), &g->dirs);
		return 0;
	}
	if (v->embedded || !vmdk_desc_is_old(g->img))
		return image_fail(g->img, e);
	undo(g);
	return vmdk_extent_switch(last_old(g), g->old_len, &ignored)
		   ? image_fail(g->img, e)
		   : -1;
}

/* ---- shrinking -------------------------------------------------------- */

/* A file that cannot be removed costs space, not data. */
static void drop_parts(struct vmdk *v, size_t n)
{
	while (v->n > n) {
		struct vmdk_extent *x = &v->extent[--v->n];

		unlink(x->file->name);
		vmdk_extent_close(x);
	}
}

static int shrink(struct image *img, uint64_t size, struct err *e)
{
	struct vmdk *v = vmdk_of(img);
	struct vmdk_extent *x = vmdk_extent_at(v, size - 1);
	size_t n = (size_t)(x - v->extent) + 1;
	uint64_t len = size - x->guest;

	if (x->compressed && vmdk_stream_cut(img, x, len, e))
		return -1;
	if (announce(img, e))
		return -1;
	if (!v->embedded && vmdk_desc_resize(img, n, len, "", size, e))
		return vmdk_desc_is_old(img) ? -1 : image_fail(img, e);
	if (vmdk_extent_switch(x, len, e) || vmdk_extent_cut(img, x, len, e))
		return image_fail(img, e);
	drop_parts(v, n);
	x->len = len;
	atomic_store(&img->size, size);
	if (v->embedded && vmdk_desc_resize(img, n, len, "", size, e))
		return image_fail(img, e);
	return 0;
}

/* ---- the disk --------------------------------------------------------- */

int vmdk_resize(
    struct image *img, uint64_t size, enum img_prealloc prealloc, struct err *e)
{
	struct growth g = {.img = img,
	    .prealloc = prealloc,
	    .size = size,
	    .old_size = img_size(img),
	    .old_n = vmdk_of(img)->n};
	CLEANUP_FREE char *lines = NULL;
	size_t lines_len;

	if (check(img, size, prealloc, e) || image_commit(img, e))
		return -1;
	if (size == g.old_size)
		return 0;
	if (size < g.old_size)
		return shrink(img, size, e);
	return plan(&g, e) ? -1 : grow(&g, &lines, &lines_len, e);
}
