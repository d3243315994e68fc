/* SPDX-License-Identifier: BSD-3-Clause */
/* Another parent; and what an image will take. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "../core/measure.h"
#include "params.h"

/* ---- another parent ---------------------------------------------------------
 */

/* The CID of a new parent; that of the old one where it is not one yet. */
static int parent_cid(
    struct image *img, const char *name, uint32_t *cid, struct err *e)
{
	const struct img_open how = {.format = "vmdk",
	    .flags = IMG_O_FORCE_SHARE,
	    .gate = IMG_GATE_METADATA};
	struct err one = ERR_INIT;
	CLEANUP_FREE char *path = image_resolve(img->name, name, &one);
	struct image *parent = path ? img_open(path, &how, &one) : NULL;

	*cid = vmdk_of(img)->desc.parent_cid;
	if (!parent && one.errnum != ENOENT)
		return err_set(e, one.kind, one.errnum, "%s", one.msg);
	if (parent)
		*cid = vmdk_of(parent)->desc.cid;
	img_drop(parent);
	return 0;
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
	uint32_t cid = VMDK_NO_PARENT;
	char *text;
	int rc = 0;

	if (check_parent(img, name, format, e) ||
	    (name && (parent_cid(img, name, &cid, e) ||
			 vmdk_check_parent_cid(name, cid, e))))
		return -1;
	text = strdup(d->text);
	if (!text)
		return err_nomem(e);
	if (vmdk_desc_edit(
		&text, "parentCID", "CID", e, "parentCID=%08" PRIx32, cid) ||
	    vmdk_desc_edit(&text, VMDK_NEXT_PARENT, "parentCID", e, NULL) ||
	    vmdk_desc_edit(&text, "parentFileNameHint", "createType", e,
		name ? "parentFileNameHint=\"%s\"" : NULL, name)) {
		free(text);
		return -1;
	}
	if (!trial) {
		if (vmdk_desc_store(img, text, e))
			return image_fail(img, e);
		vmdk_of(img)->wrong_parent = false;
		return 0;
	}
	if (!vmdk_desc_fits(img, text))
		rc = err_set(
		    e, ERR_USAGE, ENOSPC, "No space left in the descriptor");
	free(text);
	return rc;
}

/* ---- measure ---------------------------------------------------------- */

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

/* Of a stream: the most that grains which do not compress take, with the tables
 * that they need, and what every stream has. */
static uint64_t stream_len(uint64_t size, uint64_t data, uint64_t mapped)
{
	uint64_t span = (uint64_t)VMDK_GRAIN_LEN * VMDK_GT_N;
	uint64_t grain =
	    round_up(VMDK_MARK_LEN + codec_bound(VMDK_GRAIN_LEN), SECTOR_LEN);
	uint64_t gd = round_up(div_up(size, span) * 4, SECTOR_LEN);

	return VMDK_GRAIN_LEN + data / VMDK_GRAIN_LEN * grain +
	       mapped / span * (SECTOR_LEN + 4 * VMDK_GT_N) + SECTOR_LEN + gd +
	       3 * SECTOR_LEN;
}

static int measure_stream(
    uint64_t size, struct image *src, struct img_measure *out, struct err *e)
{
	uint64_t span = (uint64_t)VMDK_GRAIN_LEN * VMDK_GT_N;
	uint64_t disk = round_up(size, VMDK_GRAIN_LEN);
	uint64_t data = 0, mapped = 0;

	if (src && (measure_data(src, VMDK_GRAIN_LEN, &data, e) ||
		       measure_data(src, span, &mapped, e)))
		return -1;
	out->required = stream_len(size, data, mapped);
	out->fully_allocated = stream_len(size, disk, round_up(size, span));
	return 0;
}

static int measure_sparse(const struct vmdk_params *p, struct image *src,
    struct img_measure *out, struct err *e)
{
	uint64_t used = 0, tables;

	if (tables_len(p, &tables, e) ||
	    (src && measure_data(src, VMDK_GRAIN_LEN, &used, e)))
		return -1;
	out->required = tables + used;
	out->fully_allocated = tables + round_up(p->size, VMDK_GRAIN_LEN);
	return 0;
}

int vmdk_measure(struct options *o, uint64_t size, struct image *src,
    struct img_measure *out, struct err *e)
{
	const struct create_args a = {.o = o,
	    .size = size,
	    .backing = options_get(o, "backing_file"),
	    .backing_fmt = options_get(o, "backing_fmt")};
	struct vmdk_params p;
	uint64_t desc_len = 0;
	int rc = 0;

	if (vmdk_params_read(&a, &p, e) ||
	    ((p.flat || p.split) && vmdk_desc_measure(&a, &p, &desc_len, e)))
		return -1;
	out->bitmaps = -1;
	if (p.flat)
		out->required = out->fully_allocated = size;
	else
		rc = p.stream ? measure_stream(size, src, out, e)
			      : measure_sparse(&p, src, out, e);
	out->required += desc_len;
	out->fully_allocated += desc_len;
	/* How much of it the parent has is not looked at. */
	if (!rc && a.backing && src)
		out->required = out->fully_allocated;
	return rc;
}
