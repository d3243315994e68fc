/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * VHD ("vpc"): fixed, dynamic and differencing disks.
 *
 * Specification: Microsoft's "Virtual Hard Disk Image Format Specification".
 * All numbers are big-endian.
 *
 *   fixed     the bytes of the disk, then the footer
 *   dynamic   copy of the footer, dynamic header, block allocation table (BAT),
 *             blocks, the footer.  A block is a bitmap with a bit for each
 *             sector, in whole sectors, and the data
 *   differencing  the same; a sector whose bit is 0 is the parent's
 *
 * Invariants: a sector whose bit is 0 reads as the parent's, or as zeroes; bits
 * are set when the data is durable.  The footer at the end moves with it and
 * may be missing after a crash; the copy at the start never is.
 */
#ifndef IMGD_VPC_H
#define IMGD_VPC_H

#include "../core/flat.h"

#define VPC_FOOTER_LEN	 512u
#define VPC_HEADER_LEN	 1024u
#define VPC_BLOCK_USUAL	 (2u << 20)
#define VPC_NO_BLOCK	 UINT32_MAX    /* BAT entry: not allocated */
#define VPC_SECTORS_MAX	 0xff000000ull /* 2040 GiB */
#define VPC_CHS_MAX	 (65535ull * 16 * 255)
#define VPC_NO_OFFSET	 UINT64_MAX
#define VPC_LOCATORS	 8u
#define VPC_NAME_LEN_MAX 4096u /* bytes of UTF-16 */

enum vpc_type { VPC_FIXED = 2, VPC_DYNAMIC = 3, VPC_DIFF = 4 };

struct vpc_geometry {
	uint16_t cylinders;
	uint8_t heads, sectors;
};

struct vpc_footer {
	uint64_t header_host; /* of the dynamic header; VPC_NO_OFFSET: none */
	uint32_t timestamp;   /* seconds since 2000-01-01 UTC */
	char creator[4];
	uint64_t original_size, size; /* bytes */
	struct vpc_geometry chs;
	enum vpc_type type;
	uint8_t id[16];
};

/* Where a parent may be found. */
struct vpc_locator {
	uint32_t code;	    /* platform */
	uint32_t space_len; /* sectors, or bytes, by who wrote it */
	uint32_t len;	    /* bytes of the name */
	uint64_t host;
};

struct vpc_header {
	uint64_t bat_host;
	uint32_t bat_n;
	uint32_t block_len;
	uint8_t parent_id[16];
	uint32_t parent_timestamp;
	uint8_t parent_name[512]; /* UTF-16, big-endian */
	struct vpc_locator locator[VPC_LOCATORS];
};

struct vpc {
	struct flat flat; /* first; of dynamic and differencing disks */
	struct vpc_footer footer;
	struct vpc_header header;
	uint32_t bitmap_len; /* bytes before the data of a block */
	uint64_t footer_end; /* host byte where the last footer written ends */
};

static inline struct vpc *vpc_of(const struct image *img)
{
	return img->priv;
}

/* ---- footer.c --------------------------------------------------------------
 */

/* The cylinders, heads and sectors of that many sectors: Appendix of the
 * specification.  They may have fewer sectors. */
struct vpc_geometry vpc_geometry(uint64_t sectors);
static inline uint64_t vpc_chs_sectors(struct vpc_geometry g)
{
	return (uint64_t)g.cylinders * g.heads * g.sectors;
}
/* The size of the disk, bytes: which field says it depends on who made it. */
uint64_t vpc_disk_size(const struct vpc_footer *f);
/* A size that no reader works out from the geometry, which is the largest. */
void vpc_set_size(struct vpc_footer *f, uint64_t size);
/* Is it a footer, with the right checksum?  VPC_FOOTER_LEN bytes. */
bool vpc_footer_ok(const uint8_t *p);
/* Is the end of the file the footer of a fixed disk that has the rest of it? */
bool vpc_ends_fixed(const uint8_t *tail, uint64_t file_len);
void vpc_footer_unpack(const uint8_t *p, struct vpc_footer *f);
void vpc_footer_pack(uint8_t *p, const struct vpc_footer *f);
/* The footer at the start or the one at the end. */
int vpc_footer_read(struct hostfile *f, struct vpc_footer *out, struct err *e);
int vpc_header_read(
    struct hostfile *f, uint64_t host, struct vpc_header *h, struct err *e);
void vpc_header_pack(uint8_t *p, const struct vpc_header *h);
/* Now, as a footer says it. */
uint32_t vpc_timestamp(void);
/* A random identifier. */
int vpc_new_id(uint8_t id[16], struct err *e);

/* ---- parent.c ---------------------------------------------------------------
 */

/* The name of the parent as a path, malloc'd; NULL with *e set. */
char *vpc_parent_name(
    struct hostfile *f, const struct vpc_header *h, struct err *e);
/* The bytes of a locator. */
struct vpc_name {
	uint32_t len;
	uint8_t text[VPC_NAME_LEN_MAX];
};
/* Name a parent in *h: `path` as the user gave it.  The locator's bytes, *out,
 * are for host offset `host`. */
int vpc_set_parent(struct vpc_header *h, const char *path, uint64_t host,
    struct vpc_name *out, struct err *e);
/* Who the parent is that an image `above` names so. */
int vpc_parent_identity(
    const char *above, const char *name, struct vpc_header *h, struct err *e);

/* ---- open.c ----------------------------------------------------------- */

/* For the scan of the space: what is no block's, without the last footer. */
int vpc_claim_structures(struct flat *f, struct err *e);
int vpc_footer_store(struct image *img, uint64_t host, struct err *e);

/* ---- create.c, change.c, check.c -------------------------------------- */

extern const struct img_opt vpc_create_opts[];
int vpc_create(const struct create_args *a, struct err *e);
int vpc_create_check(const struct create_args *a, struct err *e);
int vpc_measure(struct options *o, uint64_t size, struct image *src,
    struct img_measure *out, struct err *e);
int vpc_make_empty(struct image *img, struct err *e);
/* Both copies, durable; the gate is closed. */
int vpc_footers_store(struct image *img, struct err *e);
/* After blocks have gone, durably: what is free is found out, and the file ends
 * behind the last one. */
int vpc_settle(struct image *img, struct err *e);
int vpc_resize(struct image *img, uint64_t size, enum img_prealloc prealloc,
    struct err *e);
int vpc_set_backing(struct image *img, const char *name, const char *format,
    bool trial, struct err *e);
int vpc_check(struct image *img, struct img_check *out,
    void (*report)(void *, const char *), void *arg, struct err *e);
int vpc_repair(struct image *img, enum img_repair what, struct img_check *out,
    void (*report)(void *, const char *), void *arg, struct err *e);

#endif
