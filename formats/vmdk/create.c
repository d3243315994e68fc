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
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>

#include "../core/open.h"
#include "params.h"

#define PART_SUFFIX_LEN 5u /* "-flat", "-f001" in the names of extents */

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
	bool text_only; /* no files are made */
};

/* ---- further files ---------------------------------------------------- */

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

/* Does it get another name when it is complete? */
static bool is_temporary(const struct create_args *a)
{
	return strcmp(a->name, a->known_as);
}

static struct hostfile *open_new(
    struct builder *b, const char *name, struct err *e)
{
	char *path = image_resolve(b->a->file->name, name, e);
	struct hostfile *f;

	if (!path)
		return NULL;
	f = host_open_file(path,
	    HOST_RDWR | HOST_CREATE | b->a->open_flags |
		(is_temporary(b->a) ? HOST_EXCL : 0),
	    e);
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

/* What it will replace has to be free, which is better known now than when the
 * disk is complete. */
static int check_unused(const struct builder *b, unsigned number, struct err *e)
{
	const char *later = open_plain_path(b->a->known_as, e);
	const char *slash = later ? strrchr(later, '/') : NULL;
	CLEANUP_FREE char *name = NULL, *path = NULL;
	struct hostfile *f;
	int rc;

	if (!later)
		return -1;
	name = vmdk_part_name(b->p, slash ? slash + 1 : later, number, e);
	path = name ? image_resolve(later, name, e) : NULL;
	if (!path)
		return -1;
	if (access(path, F_OK))
		return 0;
	f = host_open_file(path, HOST_RDWR, e);
	if (!f)
		return -1;
	rc = open_lock(f, e);
	host_put(f);
	return rc;
}

static int make_extent(
    struct builder *b, unsigned number, uint64_t len, struct err *e)
{
	CLEANUP_FREE char *name = vmdk_part_name(b->p, b->base, number, e);
	struct hostfile *f;
	int rc;

	if (!name)
		return -1;
	vmdk_part_line(b->out, b->p, name, len);
	if (b->text_only)
		return 0;
	f = open_new(b, name, e);
	if (!f)
		return -1;
	rc = is_temporary(b->a) ? check_unused(b, number, e) : 0;
	if (!rc)
		rc = vmdk_part_fill(f, b->p, len, e);
	return host_close(f, e) ? -1 : rc;
}

static int make_extents(struct builder *b, struct err *e)
{
	uint64_t piece = b->p->split ? VMDK_SPLIT_LEN : UINT64_MAX, done = 0;

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
	return vmdk_check_parent_cid(path, b->parent_cid, e);
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

int vmdk_desc_measure(const struct create_args *a, const struct vmdk_params *p,
    uint64_t *len, struct err *e)
{
	char base[NAME_MAX + 1 - PART_SUFFIX_LEN];
	struct builder b = {.a = a, .p = p, .base = base, .text_only = true};
	CLEANUP_FREE char *text = NULL;

	memset(base, 'x', sizeof base - 1);
	base[sizeof base - 1] = '\0';
	b.out = open_memstream(&b.extents, &b.extents_len);
	if (!b.out)
		return err_nomem(e);
	text = make_extents(&b, e) ? NULL : finish_descriptor(&b, e);
	*len = text ? strlen(text) : 0;
	fclose(b.out);
	free(b.extents);
	return text ? 0 : -1;
}

/* ---- one file --------------------------------------------------------- */

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
	CLEANUP_FREE char *text = NULL;

	fprintf(b->out, "%s %" PRIu64 " SPARSE \"%s\"\n",
	    p->stream ? "RDONLY" : "RW", p->size / SECTOR_LEN, b->base);
	text = finish_descriptor(b, e);
	return !text || put_descriptor(b->a->file, text, VMDK_DESC_HOST, e)
		   ? -1
		   : vmdk_part_fill(b->a->file, p, p->size, e);
}

static int make_many(struct builder *b, struct err *e)
{
	CLEANUP_FREE char *text = NULL;

	if (make_extents(b, e))
		return -1;
	text = finish_descriptor(b, e);
	return text ? put_descriptor(b->a->file, text, 0, e) : -1;
}

/* ---- interface -------------------------------------------------------- */

/* Other files have names made from the one that the image has now. */
static int begin(struct builder *b, struct err *e)
{
	bool many = b->p->flat || b->p->split;
	const char *name =
	    open_plain_path(many ? b->a->name : b->a->known_as, e);
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
