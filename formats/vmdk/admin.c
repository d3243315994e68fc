/* SPDX-License-Identifier: BSD-3-Clause */
/* The descriptor's share in administration: another parent, another size; and
 * what an image will take. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "params.h"

/* ---- text ------------------------------------------------------------------
 */

/* *text, malloc'd, with the line of a key changed. */
static int edit(char **text, const char *key, const char *after, struct err *e,
    const char *fmt, ...)
{
	char *line = NULL, *changed;
	va_list ap;
	int rc = 0;

	if (fmt) {
		va_start(ap, fmt);
		rc = vasprintf(&line, fmt, ap);
		va_end(ap);
	}
	if (rc < 0)
		return err_nomem(e);
	changed = vmdk_desc_edit(*text, key, line, after, e);
	free(line);
	if (!changed)
		return -1;
	free(*text);
	*text = changed;
	return 0;
}

static char *copy_of(const struct vmdk_desc *d, struct err *e)
{
	char *text = strdup(d->text);

	if (!text)
		err_nomem(e);
	return text;
}

static int store(struct image *img, char *text, struct err *e)
{
	if (!vmdk_desc_store(img, text, e))
		return host_sync(img->file, e);
	free(text);
	return -1;
}

/* ---- another parent ---------------------------------------------------------
 */

/* The CID of a new parent, as far as it can be asked. */
static uint32_t parent_cid(struct image *img, const char *name)
{
	const struct img_open how = {.format = "vmdk",
	    .flags = IMG_O_FORCE_SHARE,
	    .gate = IMG_GATE_METADATA};
	struct err ignored = ERR_INIT;
	CLEANUP_FREE char *path = image_resolve(img->name, name, &ignored);
	struct image *parent = path ? img_open(path, &how, &ignored) : NULL;
	uint32_t cid = vmdk_of(img)->desc.parent_cid;

	if (parent)
		cid = vmdk_of(parent)->desc.cid;
	img_drop(parent);
	return cid;
}

static int check_parent(
    struct image *img, const char *name, const char *format, struct err *e)
{
	const struct vmdk *v = vmdk_of(img);

	if (!v->n || !v->desc.create_type || !*v->desc.text)
		return err_unsupported(
		    e, "%s: it has no descriptor", img->name);
	for (size_t i = 0; name && i < v->n; i++)
		if (v->extent[i].kind == VMDK_FLAT)
			return err_usage(
			    e, "Flat image can't have backing file");
	if (name && format && strcmp(format, "vmdk"))
		return err_usage(e, "backing_file must be a vmdk image");
	if (name && strpbrk(name, "\"\r\n"))
		return err_usage(
		    e, "the name of a parent has no quotes and no line ends");
	return 0;
}

int vmdk_set_backing(struct image *img, const char *name, const char *format,
    bool trial, struct err *e)
{
	struct vmdk_desc *d = &vmdk_of(img)->desc;
	uint32_t cid = name ? parent_cid(img, name) : VMDK_NO_PARENT;
	char *text;

	if (check_parent(img, name, format, e))
		return -1;
	text = copy_of(d, e);
	if (!text ||
	    edit(&text, "parentCID", "CID", e, "parentCID=%08" PRIx32, cid) ||
	    edit(&text, "parentFileNameHint", "createType", e,
		name ? "parentFileNameHint=\"%s\"" : NULL, name)) {
		free(text);
		return -1;
	}
	if (trial) {
		bool fits = !vmdk_of(img)->embedded || strlen(text) <= d->room;

		free(text);
		return fits ? 0
			    : err_set(e, ERR_USAGE, ENOSPC,
				  "No space left in the descriptor");
	}
	if (store(img, text, e))
		return image_fail(img, e);
	d->parent_cid = cid;
	vmdk_of(img)->wrong_parent = false;
	return 0;
}

/* ---- another size
 * ------------------------------------------------------------- */

/* The first extent line with another number of sectors. */
static int edit_extent(char **text, uint64_t sectors, struct err *e)
{
	char *line = strstr(*text, "\nRW "), *rest, *changed = NULL;

	if (!line)
		line = strstr(*text, "\nRDONLY ");
	if (!line)
		return 0;
	line = strchr(line, ' ') + 1;
	rest = line + strspn(line, "0123456789");
	if (asprintf(&changed, "%.*s%" PRIu64 "%s", (int)(line - *text), *text,
		sectors, rest) < 0)
		return err_nomem(e);
	free(*text);
	*text = changed;
	return 0;
}

int vmdk_desc_resize(struct image *img, uint64_t size, struct err *e)
{
	struct vmdk_desc *d = &vmdk_of(img)->desc;
	CLEANUP_FREE char *heads_text =
	    vmdk_desc_get(d->text, "ddb.geometry.heads", e);
	uint64_t heads = heads_text ? strtoull(heads_text, NULL, 10) : 0;
	char *text = err_is_set(e) ? NULL : copy_of(d, e);

	if (!text)
		return -1;
	if (edit_extent(&text, size / SECTOR_LEN, e) ||
	    (heads && heads <= 255 &&
		edit(&text, "ddb.geometry.cylinders", "ddb.geometry.heads", e,
		    "ddb.geometry.cylinders = \"%" PRIu64 "\"",
		    size / SECTOR_LEN / (63 * heads)))) {
		free(text);
		return -1;
	}
	return store(img, text, e);
}

/* ---- measure
 * -------------------------------------------------------------------- */

/* Bytes of the grains that hold something that is not zeroes. */
static int data_len(struct image *src, uint64_t *out, struct err *e)
{
	uint64_t size = img_size(src), off = 0, counted = 0;

	*out = 0;
	image_work_begin(src, size);
	while (off < size) {
		struct img_extent x;
		uint64_t start =
			     max_u64(round_down(off, VMDK_GRAIN_LEN), counted),
			 end;

		if (img_map(src, off, size - off, &x, e))
			return -1;
		end = off + x.len;
		if (x.data && !x.zero) {
			counted = round_up(end, VMDK_GRAIN_LEN);
			*out += counted - start;
		}
		if (image_work(src, x.len, e))
			return -1;
		off = end;
	}
	return 0;
}

/* Tables and headers of all extents. */
static int tables_len(const struct vmdk_params *p, uint64_t *out, struct err *e)
{
	uint64_t piece = p->split ? 2 * GiB : p->size, done = 0;

	*out = 0;
	do {
		uint64_t len = min_u64(piece, p->size - done);
		struct vmdk_layout l;

		if (vmdk_lay_out(len, &l, e))
			return -1;
		*out += l.overhead * SECTOR_LEN;
		done += len;
	} while (done < p->size);
	return 0;
}

/* Of a stream it is the most that it can take. */
int vmdk_measure(struct options *o, uint64_t size, struct image *src,
    struct img_measure *out, struct err *e)
{
	const struct create_args a = {.o = o,
	    .size = size,
	    .backing = options_get(o, "backing_file"),
	    .backing_fmt = options_get(o, "backing_fmt")};
	uint64_t disk = round_up(size, VMDK_GRAIN_LEN), used = 0, tables;
	struct vmdk_params p;

	if (vmdk_params_read(&a, &p, e))
		return -1;
	out->bitmaps = -1;
	if (p.flat) {
		out->required = out->fully_allocated = size;
		return 0;
	}
	if (tables_len(&p, &tables, e))
		return -1;
	if (a.backing && src)
		used = disk;
	else if (src && data_len(src, &used, e))
		return -1;
	out->required = tables + used;
	out->fully_allocated = tables + disk;
	return 0;
}
