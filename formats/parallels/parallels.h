/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Parallels expandable images.
 *
 *   header (64 bytes) | BAT: 32-bit numbers | clusters
 *
 * Cluster n of the disk is where entry n of the BAT says: in clusters of the
 * file (magic "WithouFreSpacExt") or in sectors ("WithoutFreeSpace"); 0 is
 * nothing.  core/flat.h does the rest.  All numbers are little-endian.
 *
 * The header says "in use" while an image is open for writing.  It has dirty
 * bitmaps in an extension, which are read from images that are not written; a
 * writer drops the extension, as its bitmaps would not be true any more.
 *
 * Specification: QEMU's docs/interop/parallels.
 */
#ifndef IMGD_PARALLELS_H
#define IMGD_PARALLELS_H

#include "../core/flat.h"

#define PARALLELS_HEADER_LEN  64u
#define PARALLELS_MAGIC_OLD   "WithoutFreeSpace"
#define PARALLELS_MAGIC	      "WithouFreSpacExt"
#define PARALLELS_MAGIC_LEN   16u
#define PARALLELS_VERSION     2u
#define PARALLELS_IN_USE      0x746f6e59u
#define PARALLELS_CLOSED      0x312e3276u
#define PARALLELS_CLUSTER_MAX (256u * MiB)
#define PARALLELS_ENTRY_MAX   UINT32_MAX

/* Where fields are in the header. */
enum parallels_field {
	PARALLELS_F_VERSION = 16,
	PARALLELS_F_HEADS = 20,
	PARALLELS_F_CYLINDERS = 24,
	PARALLELS_F_CLUSTER = 28, /* sectors */
	PARALLELS_F_BLOCK_N = 32,
	PARALLELS_F_SIZE = 36, /* sectors; 64 bits */
	PARALLELS_F_IN_USE = 44,
	PARALLELS_F_DATA = 48, /* sectors */
	PARALLELS_F_FLAGS = 52,
	PARALLELS_F_EXT = 56, /* sectors; 64 bits */
};

struct parallels_header {
	bool old;	      /* entries are sectors                */
	uint64_t size;	      /* guest bytes                        */
	uint32_t cluster_len; /* a multiple of 512                  */
	uint32_t block_n;     /* entries of the BAT                 */
	uint64_t data_host;   /* where clusters begin               */
	bool data_given;      /* ... as the header says             */
	bool in_use;	      /* by a writer, or not closed properly */
	uint64_t ext_host;    /* of the format extension; 0: none   */
};

struct parallels {
	struct flat f; /* first: see core/flat.h */
	struct parallels_header h;
	uint64_t entry_unit; /* bytes that an entry counts in */
};

static inline struct parallels *parallels_of(const struct image *img)
{
	return img->priv;
}

/* Parse and check; `file_len` bounds what it may point to. */
int parallels_header_parse(const uint8_t *buf, uint64_t file_len,
    const char *name, struct parallels_header *h, struct err *e);
void parallels_header_pack(const struct parallels_header *h, uint8_t *buf);
/* Write it and sync; what it names is durable. */
int parallels_header_write(struct image *img, struct err *e);
/* Nobody writes it any more: no space past the last cluster, not in use. */
int parallels_settle(struct image *img, struct err *e);

extern const struct img_opt parallels_create_opts[];
int parallels_create(const struct create_args *a, struct err *e);
int parallels_create_check(const struct create_args *a, struct err *e);
int parallels_measure(struct options *o, uint64_t size, struct image *src,
    struct img_measure *out, struct err *e);

int parallels_resize(struct image *img, uint64_t size,
    enum img_prealloc prealloc, struct err *e);
int parallels_walk(struct image *img, struct walker *w, struct err *e);
int parallels_check(struct image *img, struct img_check *out,
    void (*report)(void *, const char *), void *arg, struct err *e);
int parallels_repair(struct image *img, enum img_repair what,
    struct img_check *out, void (*report)(void *, const char *), void *arg,
    struct err *e);

/*
 * The extension may be given up, for a writer: -1 where it says that the image
 * must not be changed by who does not know it.
 */
int parallels_ext_droppable(struct image *img, struct err *e);
/* Claim, and walk, the clusters of the extension. */
int parallels_ext_claim(struct flat *f, struct err *e);
int parallels_ext_walk(struct image *img, struct walker *w, struct err *e);
extern const struct bitmap_ops parallels_bitmap_ops;

#endif
