/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * VDI: VirtualBox's disk images, version 1.1.
 *
 *   header (512 bytes) | block map: 32-bit indexes | blocks
 *
 * Block n of the disk is block map[n] of those in the file, which begin at
 * data_host; two values say "zeroes" and "nothing".  core/flat.h does the rest.
 *
 * Blocks in the file have no holes between them, and the header says how many
 * there are: other programs put the next one there.  So a block that has been
 * written stays where it is; zeroes are written and holes punched in place.
 * The number in the header is raised before an entry points to a new block (it
 * is a table of the first level), so no crash makes others hand it out again.
 */
#ifndef IMGD_VDI_H
#define IMGD_VDI_H

#include "../core/flat.h"

#define VDI_HEADER_LEN 512u
#define VDI_SIGNATURE  0xbeda107fu
#define VDI_VERSION    0x00010001u
#define VDI_BLOCK_LEN  (1u * MiB)
#define VDI_ZERO       0xfffffffeu
#define VDI_HOLE       0xffffffffu
#define VDI_SIZE_MAX   0x1fffff8000000ull /* of disks that others open */

enum vdi_type { VDI_DYNAMIC = 1, VDI_STATIC, VDI_UNDO, VDI_DIFF };

/* Where fields are in the header, all little-endian. */
enum vdi_field {
	VDI_F_SIGNATURE = 64,
	VDI_F_VERSION = 68,
	VDI_F_HEADER_LEN = 72, /* of what follows this field's start */
	VDI_F_TYPE = 76,
	VDI_F_MAP_HOST = 340,
	VDI_F_DATA_HOST = 344,
	VDI_F_SECTOR_LEN = 360,
	VDI_F_SIZE = 368, /* 64 bits */
	VDI_F_BLOCK_LEN = 376,
	VDI_F_LEAD_LEN = 380, /* bytes before the data of each block */
	VDI_F_BLOCK_N = 384,
	VDI_F_USED_N = 388, /* blocks in the file */
	VDI_F_UUID = 392,
	VDI_F_UUID_CHANGED = 408,
	VDI_F_UUID_PARENT = 424,
	VDI_F_UUID_PARENT_CHANGED = 440,
};
#define VDI_UUID_LEN  16u
#define VDI_UUID_TEXT 37u

struct vdi_header {
	enum vdi_type type;
	uint64_t map_host, data_host;
	uint64_t size; /* guest bytes, whole sectors */
	uint32_t block_len, lead_len, block_n, used_n;
	bool has_parent;
	/* Which image it is, and which contents it has; the same of the parent,
	 * zeroes where that is not known. */
	uint8_t uuid[VDI_UUID_LEN], changed[VDI_UUID_LEN];
	uint8_t parent[VDI_UUID_LEN], parent_changed[VDI_UUID_LEN];
};

struct vdi {
	struct flat f; /* first: see core/flat.h */
	struct vdi_header h;
	struct table *head; /* the header; NULL: not to be written */
	bool raised;	    /* used_n, by us                       */
	bool wrong_parent;  /* it is another one, or was changed   */
};

static inline struct vdi *vdi_of(const struct image *img)
{
	return img->priv;
}

/* Parse and check; `file_len` bounds what it may point to. */
int vdi_header_parse(const uint8_t *buf, uint64_t file_len, const char *name,
    struct vdi_header *h, struct err *e);
/* Set fields of the header in the cache from h; written with the next commit,
 * before the map.  meta exclusive. */
int vdi_header_update(struct image *img, struct err *e);
/* Blocks up to the end of the file's space. */
uint32_t vdi_used_n(const struct vdi *v);
/* The header in the cache, to be changed. */
int vdi_load_header(struct image *img, struct err *e);
/* The header says what v->h says, durably; nobody else uses the image. */
int vdi_switch_header(struct image *img, struct err *e);
/* No holes between the blocks, and the file ends where they do. */
int vdi_close_holes(struct image *img, struct err *e);

/* ---- identities (parent.c) ----------------------------------------------- */

int vdi_uuid_new(uint8_t uuid[VDI_UUID_LEN], struct err *e);
/* The parent is known by its UUID, and no name.  Is it there, and as it was? */
int vdi_find_parent(struct image *img, struct err *e);
int vdi_wrong_parent(const struct image *img, struct err *e);
/* Contents of the disk change: they get another UUID. */
int vdi_first_write(struct image *img, struct err *e);
int vdi_renew_below(struct image *img, struct err *e);

extern const struct img_opt vdi_create_opts[];
int vdi_create(const struct create_args *a, struct err *e);
int vdi_create_check(const struct create_args *a, struct err *e);
int vdi_measure(struct options *o, uint64_t size, struct image *src,
    struct img_measure *out, struct err *e);

int vdi_resize(struct image *img, uint64_t size, enum img_prealloc prealloc,
    struct err *e);
int vdi_walk(struct image *img, struct walker *w, struct err *e);
int vdi_check(struct image *img, struct img_check *out,
    void (*report)(void *, const char *), void *arg, struct err *e);
int vdi_repair(struct image *img, enum img_repair what, struct img_check *out,
    void (*report)(void *, const char *), void *arg, struct err *e);

#endif
