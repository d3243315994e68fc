/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * VHDX images ([MS-VHDX]), read and write: what the files of this folder share.
 *
 *   file identifier, two headers, two region tables    the first MiB
 *   log                                                named by the headers
 *   metadata region, BAT region                        named by the tables
 *   payload blocks, sector bitmap blocks               named by the BAT
 *
 * Terms: a block is block_len guest bytes; a chunk is as many blocks as one
 * sector bitmap block (1 MiB) has bits for.  A disk with a parent is a
 * differencing disk: what it does not have is the parent's.
 *
 * A change of a table goes to the log first (log_write.c), so it is whole or
 * not there at all after a crash; opening an image applies the log: to the
 * file, or, read-only, over it (overlay.c).
 *
 * Locks: all of struct vhdx is guarded by the image's meta lock, except what
 * only open, commit and those who have closed the gate use (headers, log).
 */
#ifndef IMGD_VHDX_H
#define IMGD_VHDX_H

#include "../core/space.h"
#include "../core/tables.h"
#include "../driver.h"

#define VHDX_UNIT	MiB    /* of the file: what regions and blocks are */
#define VHDX_SECTOR	4096u  /* of the log, and pieces of tables         */
#define VHDX_TABLE_LEN	65536u /* region table, metadata table             */
#define VHDX_HEADER_LEN 4096u
#define VHDX_REGION_HOST                                                       \
	(192 * KiB)	       /* the first region table; 64 KiB on the        \
				  second */
#define VHDX_ENTRY_MAX	 2047u /* of those tables */
#define VHDX_SIZE_MAX	 (64 * TiB)
#define VHDX_BLOCK_MIN	 MiB
#define VHDX_BLOCK_MAX	 (256 * MiB)
#define VHDX_BITMAP_BITS (8 * MiB) /* of a sector bitmap block */
/* A file that is larger is never written. */
#define VHDX_FILE_MAX (256 * TiB)

struct vhdx_guid {
	uint8_t byte[16]; /* as in the file */
};
#define VHDX_GUID_TEXT 39 /* "{8-4-4-4-12}" and a NUL */

struct vhdx_header {
	uint64_t seq;
	unsigned slot; /* which of the two: 0, 1 */
	bool spare_ok; /* the other one is valid, too */
	struct vhdx_guid file_write, data_write;
	struct vhdx_guid log_guid; /* zero: the log is empty */
	uint64_t log_host;
	uint32_t log_len;
};

struct vhdx_region {
	uint64_t host;
	uint32_t len;
};

/* States of a BAT entry. */
enum vhdx_state {
	VHDX_NOT_PRESENT = 0, /* the parent's, or zeroes */
	VHDX_UNDEFINED = 1,   /* these three: zeroes */
	VHDX_ZERO = 2,
	VHDX_UNMAPPED = 3,
	VHDX_FULL = 6, /* of a bitmap block: present */
	VHDX_PART = 7, /* the bitmap says which sectors are here */
};
#define VHDX_STATE_MASK 7ull
#define VHDX_HOST_MASK	(~(VHDX_UNIT - 1))

static inline enum vhdx_state vhdx_state(uint64_t entry)
{
	return (enum vhdx_state)(entry & VHDX_STATE_MASK);
}
static inline uint64_t vhdx_host(uint64_t entry)
{
	return entry & VHDX_HOST_MASK;
}
static inline bool vhdx_has_space(uint64_t entry)
{
	return (entry & VHDX_STATE_MASK) >= VHDX_FULL;
}

/* The parent, as the file names it; NULL, zero: not there. */
struct vhdx_locator {
	char *relative, *volume, *absolute; /* with '/' for '\' */
	struct vhdx_guid linkage, linkage2;
};

/* What the metadata region says, and where. */
struct vhdx_meta {
	uint64_t size;
	uint64_t size_host;   /* host byte of the item */
	uint64_t params_host; /* the same of the file parameters */
	uint32_t block_len, sector_len;
	bool has_parent;
	bool keeps_blocks; /* fixed: space is never given back */
	struct vhdx_locator parent;
};

/* One change that the log tells to make. */
struct vhdx_patch {
	uint64_t host, len;
	uint64_t data_host; /* its sector in the log; 0: zeroes */
	uint8_t head[8], tail[4];
};
/* The log that has to be replayed. */
struct vhdx_log {
	struct vhdx_patch *patch; /* in the order in which they are made */
	size_t n, max;
	uint64_t file_len; /* the file must be at least that long, after */
};

/* Space of a block that is reserved and not published. */
struct vhdx_pending {
	uint64_t block_ix, host;
	unsigned refs;
	bool published;
	struct vhdx_pending *next;
};

struct vhdx {
	struct hostfile *file; /* the image's, or the log over it */
	struct vhdx_header h;
	struct vhdx_log log; /* n > 0: `file` shows what it says */
	bool replayed;	     /* it is in the file now */
	struct vhdx_region bat, meta_region;
	struct vhdx_meta m;
	uint64_t chunk_n; /* blocks of a chunk */
	uint64_t bat_n;	  /* entries */
	struct tables *tables;
	struct space space; /* of a writable image; units of 1 MiB */
	struct vhdx_pending *pending;

	/* Writing the log. */
	struct vhdx_guid log_guid; /* not zero: entries were written */
	uint64_t log_seq;
};

static inline struct vhdx *vhdx_of(const struct image *img)
{
	return img->priv;
}

/* ---- text.c: GUIDs and names -------------------------------------------- */

bool vhdx_guid_is_zero(const struct vhdx_guid *g);
bool vhdx_guid_same(const struct vhdx_guid *a, const struct vhdx_guid *b);
int vhdx_guid_new(struct vhdx_guid *g, struct err *e);
void vhdx_guid_text(const struct vhdx_guid *g, char text[VHDX_GUID_TEXT]);
bool vhdx_guid_parse(struct vhdx_guid *g, const char *text);

uint32_t vhdx_crc(const void *buf, size_t len);
/* The checksum of a structure that has it at byte 4. */
uint32_t vhdx_sum(uint8_t *buf, size_t len);

/* ---- header.c ------------------------------------------------------------ */

/* The newer valid header. */
int vhdx_header_read(struct hostfile *f, struct vhdx_header *h, struct err *e);
/* Make *h the current one: in the other slot, with the next number. */
int vhdx_header_put(struct hostfile *f, struct vhdx_header *h, struct err *e);
/* The same, durable when it returns. */
int vhdx_header_write(struct hostfile *f, struct vhdx_header *h, struct err *e);

/* ---- region.c, metadata.c, locator.c ------------------------------------- */

/* Each region of the table, known or not. */
typedef int vhdx_region_fn(
    void *arg, const struct vhdx_region *r, struct err *e);
/* Finds both known regions; fn may be NULL. */
int vhdx_regions_read(struct hostfile *f, struct vhdx_region *bat,
    struct vhdx_region *meta, vhdx_region_fn *fn, void *arg, struct err *e);
/* One copy of the table, for check: NULL or what is wrong with it. */
const char *vhdx_regions_fault(uint8_t table[VHDX_TABLE_LEN]);
/* The table with these two regions. */
void vhdx_regions_pack(uint8_t table[VHDX_TABLE_LEN],
    const struct vhdx_region *bat, const struct vhdx_region *meta);
/* The BAT of a table is elsewhere. */
void vhdx_regions_move_bat(
    uint8_t table[VHDX_TABLE_LEN], const struct vhdx_region *bat);

/* What was read is freed by vhdx_meta_clear(), also after a failure. */
int vhdx_meta_read(struct hostfile *f, const struct vhdx_region *r,
    struct vhdx_meta *m, struct err *e);
void vhdx_meta_clear(struct vhdx_meta *m);
/* The metadata of a new image, in a region that reads as zeroes; `locator`
 * may be NULL. */
int vhdx_meta_write(struct hostfile *f, uint64_t host,
    const struct vhdx_meta *m, const uint8_t *locator, uint32_t locator_len,
    struct err *e);
/* The item with the file parameters: 8 bytes. */
void vhdx_params_pack(uint8_t item[8], const struct vhdx_meta *m);
/*
 * Give the table a locator of `len` bytes (0: none) in place of the one that it
 * has.  *off: where in the region it goes, which no item uses.
 */
int vhdx_meta_set_locator(uint8_t table[VHDX_TABLE_LEN],
    const struct vhdx_region *r, uint32_t len, uint32_t *off, struct err *e);

#define VHDX_LOCATOR_MAX 65536u
int vhdx_locator_parse(
    struct vhdx_locator *l, const uint8_t *item, uint32_t len, struct err *e);
void vhdx_locator_clear(struct vhdx_locator *l);
/* *l, which is all zero, names a parent so. */
int vhdx_locator_name(struct vhdx_locator *l, const char *name, struct err *e);
/* The item that says so; how long it is, or -1. */
int64_t vhdx_locator_pack(
    uint8_t out[VHDX_LOCATOR_MAX], const struct vhdx_locator *l, struct err *e);
/* The path that the locator names, malloc'd. */
char *vhdx_locator_path(const struct vhdx_locator *l, struct err *e);

/* ---- the log ------------------------------------------------------------- */

/* log_read.c: what has to be replayed; log->n = 0: nothing. */
int vhdx_log_read(struct hostfile *f, const struct vhdx_header *h,
    struct vhdx_log *log, struct err *e);
void vhdx_log_clear(struct vhdx_log *log);
/* Make its changes in the file; durable when it returns. */
int vhdx_log_replay(
    struct hostfile *f, const struct vhdx_log *log, struct err *e);
/* Bytes [off, off + len) of one patch. */
int vhdx_patch_read(struct hostfile *f, const struct vhdx_patch *p,
    uint8_t *buf, uint64_t len, uint64_t off, struct err *e);

/* overlay.c: `f` as it would be after the replay; not writable.  `log` stays
 * the caller's, and must live as long. */
struct hostfile *vhdx_overlay(
    struct hostfile *f, const struct vhdx_log *log, struct err *e);

/* log_write.c: sectors that change together. */
struct vhdx_sector {
	uint64_t host; /* a multiple of VHDX_SECTOR */
	const uint8_t *data;
};
#define VHDX_ENTRY_SECTORS 126u /* of one log entry */
/*
 * All of `n` sectors, or none of them, are changed after a crash: n is at most
 * VHDX_ENTRY_SECTORS.  What was written to the file before is durable first.
 * When it returns so is the change; its place in the file gets it later.
 */
int vhdx_log_write(struct image *img, const struct vhdx_sector *sector,
    size_t n, struct err *e);
/* All changes are in their places: nothing is left to replay. */
int vhdx_log_end(struct image *img, struct err *e);

/* ---- open.c, map.c ------------------------------------------------------- */

/* (Re-)read what regions and metadata say of `q->file`. */
int vhdx_load(struct image *img, struct err *e);
/* BAT entries for a disk; false: too many. */
uint64_t vhdx_bat_n(
    uint64_t size, uint32_t block_len, uint32_t sector_len, bool has_parent);
uint64_t vhdx_block_n(const struct vhdx *q);
/* What is wrong with an entry of a block, or of a bitmap block; NULL: nothing.
 */
const char *vhdx_entry_fault(const struct vhdx *q, uint64_t entry, bool bitmap);
int vhdx_damaged_entry(const struct image *img, uint64_t ix, uint64_t entry,
    const char *why, struct err *e);

static inline uint64_t vhdx_bat_ix(const struct vhdx *q, uint64_t block_ix)
{
	return block_ix + block_ix / q->chunk_n;
}
static inline uint64_t vhdx_bitmap_ix(const struct vhdx *q, uint64_t block_ix)
{
	return (block_ix / q->chunk_n + 1) * (q->chunk_n + 1) - 1;
}
/* meta in either mode. */
int vhdx_bat_get(
    struct image *img, uint64_t ix, uint64_t *entry, struct err *e);
/* The same of a block: one that means something, with its space in the file. */
int vhdx_block_get(
    struct image *img, uint64_t block_ix, uint64_t *entry, struct err *e);
/* meta exclusive. */
int vhdx_bat_set(struct image *img, uint64_t ix, uint64_t entry, struct err *e);
/* Host byte of the bitmap block of a block; 0: there is none. */
int vhdx_bitmap_host(
    struct image *img, uint64_t block_ix, uint64_t *host, struct err *e);
/* Where in a bitmap block the bit of guest byte `guest` is. */
uint64_t vhdx_bit(const struct vhdx *q, uint64_t guest);
int vhdx_map(struct image *img, uint64_t guest, uint64_t len, struct extent *x,
    struct err *e);

/* ---- bitmap.c ------------------------------------------------------------ */

/* Bits from `bit` on that are alike, at most `n`: how many, and of what. */
int vhdx_bits_run(struct image *img, uint64_t bitmap_host, uint64_t bit,
    uint64_t n, uint64_t *run, bool *set, struct err *e);
/* Set or clear n bits; meta exclusive. */
int vhdx_bits_put(struct image *img, uint64_t bitmap_host, uint64_t bit,
    uint64_t n, bool set, struct err *e);

/* ---- write.c, unmap.c, space.c ------------------------------------------- */

int vhdx_reserve(struct image *img, uint64_t guest, uint64_t len,
    uint64_t stored, struct reservation *r, struct err *e);
int vhdx_publish(struct image *img, const struct reservation *r, struct err *e);
void vhdx_abandon(struct image *img, const struct reservation *r);
int vhdx_unmap(struct image *img, uint64_t guest, uint64_t len,
    enum unmap_how how, uint64_t *done, struct err *e);
int vhdx_release(struct image *img, uint64_t host, uint64_t len, struct err *e);
int vhdx_commit(struct image *img, struct err *e);
int vhdx_first_write(struct image *img, struct err *e);
/* From now on this is the identity of what the disk holds. */
int vhdx_set_data_guid(
    struct image *img, const struct vhdx_guid *data, struct err *e);

/* Find out what of the file is free; a file whose structures overlap is
 * refused. */
int vhdx_space_scan(struct image *img, struct err *e);
/* Space that reads as zeroes.  meta exclusive. */
int vhdx_space_take(
    struct image *img, uint64_t len, uint64_t *host, struct err *e);

/* ---- create.c, resize.c, check.c, parent.c ------------------------------- */

extern const struct img_opt vhdx_create_opts[];
int vhdx_create(const struct create_args *a, struct err *e);
int vhdx_create_check(const struct create_args *a, struct err *e);
int vhdx_measure(struct options *o, uint64_t size, struct image *src,
    struct img_measure *out, struct err *e);
int vhdx_resize(struct image *img, uint64_t size, enum img_prealloc prealloc,
    struct err *e);
int vhdx_walk(struct image *img, struct walker *w, struct err *e);
int vhdx_check(struct image *img, struct img_check *out,
    void (*report)(void *, const char *), void *arg, struct err *e);
int vhdx_repair(struct image *img, enum img_repair what, struct img_check *out,
    void (*report)(void *, const char *), void *arg, struct err *e);

/*
 * The item that names a parent, as seen from `above`, which is looked at: how
 * long it is, or -1.  One that is not there is the one that `was` the parent,
 * elsewhere; NULL: none was.
 */
int64_t vhdx_parent_locator(uint8_t out[VHDX_LOCATOR_MAX], const char *above,
    const char *name, const char *format, const struct vhdx_locator *was,
    struct err *e);
/* Is what is below what the locator means? */
int vhdx_parent_check(struct image *img, struct err *e);
int vhdx_set_backing(struct image *img, const char *name, const char *format,
    bool trial, struct err *e);
int vhdx_renew_below(struct image *img, struct err *e);
int vhdx_make_empty(struct image *img, struct err *e);

#endif
