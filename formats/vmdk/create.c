/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Making VMDK images.
 *
 * Further files are made first; the descriptor, or the header that it is
 * inside with, is last: until it is there the file is no image at all.  On
 * failure the further files are removed.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "../core/open.h"
#include "params.h"
#include "stream.h"

#define SPLIT_LEN (2 * GiB) /* of the disk, in one file */

/* A descriptor in the making. */
struct builder {
	const struct create_args *a;
	const struct vmdk_params *p;
	const char *base; /* the image's own file name, without folder */
	char *extents;	  /* lines */
	size_t extents_len;
	FILE *out;   /* of `extents` */
	char **made; /* paths of the files that were made */
	size_t made_n;
	uint32_t parent_cid;
};

/* ---- sparse extents --------------------------------------------------------
 */

static struct vmdk_header make_header(
    const struct vmdk_params *p, uint64_t len, struct vmdk_layout l)
{
	struct vmdk_header h = {
	    .version = p->stream     ? 3
		       : p->zero_gte ? 2
				     : 1,
	    .flags = VMDK_F_NEWLINES,
	    .capacity = len / SECTOR_LEN,
	    .grain = VMDK_GRAIN_LEN / SECTOR_LEN,
	    .desc = VMDK_DESC_HOST / SECTOR_LEN,
	    .desc_n = VMDK_DESC_LEN / SECTOR_LEN,
	    .gt_n = VMDK_GT_N,
	};

	if (p->zero_gte)
		h.flags |= VMDK_F_ZERO_GTE;
	if (p->stream) {
		h.flags |= VMDK_F_COMPRESSED | VMDK_F_MARKERS;
		h.compression = 1;
		h.gd = VMDK_GD_AT_END;
		h.overhead = h.grain;
		return h;
	}
	h.flags |= VMDK_F_REDUNDANT;
	h.rgd = l.rgd;
	h.gd = l.gd;
	h.overhead = l.overhead;
	return h;
}

/* A directory; its tables follow it, and are zeroes. */
static int write_gd(
    struct hostfile *f, const struct vmdk_layout *l, uint64_t gd, struct err *e)
{
	uint64_t gt = gd + l->gd_len;
	uint8_t buf[4096];

	for (uint64_t i = 0; i < l->gd_n;) {
		uint64_t at = gd * SECTOR_LEN + i * 4, n = 0;

		for (; n < sizeof buf / 4 && i < l->gd_n; n++, i++) {
			put_le32(buf + 4 * n, (uint32_t)gt);
			gt += VMDK_GT_N * 4 / SECTOR_LEN;
		}
		if (host_pwrite(f, buf, 4 * n, at, e))
			return -1;
	}
	return 0;
}

static int write_header(
    struct hostfile *f, const struct vmdk_header *h, struct err *e)
{
	uint8_t buf[SECTOR_LEN];

	vmdk_header_pack(h, buf);
	return host_pwrite(f, buf, sizeof buf, 0, e);
}

/* A stream without grains, as one that was written is closed. */
static int write_stream(struct hostfile *f, const struct vmdk_params *p,
    uint64_t len, struct err *e)
{
	struct vmdk_extent x = {.kind = VMDK_SPARSE,
	    .file = f,
	    .len = len,
	    .h = make_header(p, len, (struct vmdk_layout){0}),
	    .grain_len = VMDK_GRAIN_LEN,
	    .gt_n = VMDK_GT_N,
	    .gt_len = 4 * VMDK_GT_N};
	int rc;

	x.gd_n = div_up(len, (uint64_t)VMDK_GRAIN_LEN * VMDK_GT_N);
	x.stream = vmdk_stream_new(&x, e);
	if (!x.stream)
		return -1;
	x.stream->end = x.h.overhead * SECTOR_LEN;
	x.stream->open = true;
	rc = vmdk_stream_finish(&x, e);
	vmdk_stream_free(&x);
	return rc;
}

/* An empty sparse extent of `len` bytes of the disk.  Its header is written
 * last, by the caller where it has a descriptor in it. */
static int write_tables(struct hostfile *f, const struct vmdk_params *p,
    uint64_t len, struct vmdk_header *h, struct err *e)
{
	struct vmdk_layout l;

	if (vmdk_lay_out(len, &l, e) || write_gd(f, &l, l.rgd, e) ||
	    write_gd(f, &l, l.gd, e) ||
	    host_grow(f, l.overhead * SECTOR_LEN, e))
		return -1;
	*h = make_header(p, len, l);
	return 0;
}

/* ---- further files
 * ------------------------------------------------------------ */

static int note_file(struct builder *b, char *path, struct err *e)
{
	char **more = reallocarray(b->made, b->made_n + 1, sizeof *more);

	if (!more) {
		free(path);
		return err_nomem(e);
	}
	b->made = more;
	b->made[b->made_n++] = path;
	return 0;
}

/* NAME-f001.EXT beside NAME.EXT. */
static char *extent_name(
    const struct builder *b, unsigned number, struct err *e)
{
	const char *dot = strrchr(b->base, '.');
	int stem = dot ? (int)(dot - b->base) : (int)strlen(b->base);
	char *name = NULL;
	int rc;

	if (b->p->split)
		rc = asprintf(&name, "%.*s-%c%03u%s", stem, b->base,
		    b->p->flat ? 'f' : 's', number, dot ? dot : "");
	else
		rc = asprintf(
		    &name, "%.*s-flat%s", stem, b->base, dot ? dot : "");
	if (rc >= 0)
		return name;
	err_nomem(e);
	return NULL;
}

static struct hostfile *open_new(
    struct builder *b, const char *name, struct err *e)
{
	char *path = image_resolve(b->a->file->name, name, e);
	struct hostfile *f;

	if (!path)
		return NULL;
	f = host_open_file(path, HOST_RDWR | HOST_CREATE | b->a->open_flags, e);
	if (!f) {
		free(path);
		return NULL;
	}
	if (!open_lock(f, e) && !note_file(b, path, e) &&
	    !host_truncate(f, 0, e))
		return f;
	host_put(f);
	return NULL;
}

static int make_extent(
    struct builder *b, unsigned number, uint64_t len, struct err *e)
{
	const struct vmdk_params *p = b->p;
	CLEANUP_FREE char *name = extent_name(b, number, e);
	struct hostfile *f = name ? open_new(b, name, e) : NULL;
	struct vmdk_header h;
	int rc;

	if (!f)
		return -1;
	if (p->flat) {
		rc = host_truncate(f, len, e);
	} else {
		rc = write_tables(f, p, len, &h, e);
		/* The descriptor is in another file. */
		if (!rc)
			rc = write_header(f, &h, e);
	}
	fprintf(b->out, "RW %" PRIu64 " %s \"%s\"%s\n", len / SECTOR_LEN,
	    p->flat ? "FLAT" : "SPARSE", name, p->flat ? " 0" : "");
	return host_close(f, e) ? -1 : rc;
}

static int make_extents(struct builder *b, struct err *e)
{
	uint64_t piece = b->p->split ? SPLIT_LEN : UINT64_MAX, done = 0;

	if (b->p->size / piece >= VMDK_EXTENTS_MAX)
		return err_set(e, ERR_USAGE, EFBIG,
		    "an image in files of 2 GiB has at most %u of them",
		    VMDK_EXTENTS_MAX);
	for (unsigned i = 1; done < b->p->size; i++) {
		uint64_t len = min_u64(piece, b->p->size - done);

		if (make_extent(b, i, len, e))
			return -1;
		done += len;
	}
	return 0;
}

/* ---- the descriptor ---------------------------------------------------------
 */

/* Which CID the parent has now. */
static int read_parent(struct builder *b, struct err *e)
{
	struct img_open how = {.format = "vmdk",
	    .flags = IMG_O_FORCE_SHARE,
	    .gate = IMG_GATE_METADATA};
	CLEANUP_FREE char *path = NULL;
	struct image *img;

	b->parent_cid = VMDK_NO_PARENT;
	if (!b->a->backing)
		return 0;
	path = image_resolve(b->a->name, b->a->backing, e);
	img = path ? img_open(path, &how, e) : NULL;
	if (!img)
		return -1;
	b->parent_cid = vmdk_of(img)->desc.cid;
	img_drop(img);
	return 0;
}

static char *make_descriptor(const struct builder *b, struct err *e)
{
	const struct vmdk_params *p = b->p;
	const char *parent = b->a->backing;
	unsigned heads = strcmp(p->adapter, "ide") ? 255 : 16;
	char *text = NULL;

	if (asprintf(&text,
		"# Disk DescriptorFile\n"
		"version=1\n"
		"CID=%08" PRIx32 "\n"
		"parentCID=%08" PRIx32 "\n"
		"createType=\"%s\"\n"
		"%s%s%s\n"
		"# Extent description\n"
		"%s\n"
		"# The Disk Data Base\n"
		"#DDB\n\n"
		"ddb.virtualHWVersion = \"%s\"\n"
		"ddb.geometry.cylinders = \"%" PRIu64 "\"\n"
		"ddb.geometry.heads = \"%u\"\n"
		"ddb.geometry.sectors = \"63\"\n"
		"ddb.adapterType = \"%s\"\n"
		"ddb.toolsVersion = \"%s\"\n",
		vmdk_cid_new(), b->parent_cid, p->create_type,
		parent ? "parentFileNameHint=\"" : "", parent ? parent : "",
		parent ? "\"" : "", b->extents, p->hwversion,
		p->size / SECTOR_LEN / (63 * heads), heads, p->adapter,
		p->tools) >= 0)
		return text;
	err_nomem(e);
	return NULL;
}

/* The lines are complete. */
static char *finish_descriptor(struct builder *b, struct err *e)
{
	int rc = fflush(b->out);

	if (rc || ferror(b->out)) {
		err_nomem(e);
		return NULL;
	}
	return make_descriptor(b, e);
}

/* ---- one file
 * ------------------------------------------------------------------ */

static int put_descriptor(
    struct hostfile *f, const char *text, uint64_t host, struct err *e)
{
	size_t len = strlen(text);

	if (host && len > VMDK_DESC_LEN)
		return err_usage(e,
		    "the descriptor would have %zu bytes: at most %u fit", len,
		    VMDK_DESC_LEN);
	return host_pwrite(f, text, len, host, e);
}

static int make_single(struct builder *b, struct err *e)
{
	const struct vmdk_params *p = b->p;
	struct hostfile *f = b->a->file;
	CLEANUP_FREE char *text = NULL;
	struct vmdk_header h;

	fprintf(b->out, "%s %" PRIu64 " SPARSE \"%s\"\n",
	    p->stream ? "RDONLY" : "RW", p->size / SECTOR_LEN, b->base);
	text = finish_descriptor(b, e);
	if (!text || put_descriptor(f, text, VMDK_DESC_HOST, e))
		return -1;
	if (p->stream)
		return write_stream(f, p, p->size, e);
	return write_tables(f, p, p->size, &h, e) || write_header(f, &h, e) ? -1
									    : 0;
}

static int make_many(struct builder *b, struct err *e)
{
	CLEANUP_FREE char *text = NULL;

	if (make_extents(b, e))
		return -1;
	text = finish_descriptor(b, e);
	return text ? put_descriptor(b->a->file, text, 0, e) : -1;
}

/* ---- interface
 * ------------------------------------------------------------------- */

static int begin(struct builder *b, struct err *e)
{
	const char *name = open_plain_path(b->a->known_as, e);
	const char *slash = name ? strrchr(name, '/') : NULL;

	if (!name)
		return -1;
	b->base = slash ? slash + 1 : name;
	if (strpbrk(b->base, "\"\r\n"))
		return err_usage(e,
		    "the name of a VMDK image has no quotes and no line ends");
	b->out = open_memstream(&b->extents, &b->extents_len);
	return b->out ? 0 : err_nomem(e);
}

int vmdk_create(const struct create_args *a, struct err *e)
{
	struct vmdk_params p;
	struct builder b = {.a = a, .p = &p};
	int rc = -1;

	if (vmdk_params_read(a, &p, e))
		return -1;
	if (!begin(&b, e) && !read_parent(&b, e))
		rc = p.flat || p.split ? make_many(&b, e) : make_single(&b, e);
	if (b.out)
		fclose(b.out);
	free(b.extents);
	for (size_t i = 0; i < b.made_n; i++) {
		if (rc)
			unlink(b.made[i]);
		free(b.made[i]);
	}
	free(b.made);
	return rc;
}

int vmdk_create_check(const struct create_args *a, struct err *e)
{
	struct vmdk_params p;

	return vmdk_params_read(a, &p, e);
}
