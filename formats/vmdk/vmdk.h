/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * VMDK: what its files share.
 *
 * Specifications: VMware's "Virtual Disk Format 5.0" (hosted sparse, ESX
 * sparse or COWD, stream-optimized, descriptor); for seSparse, which has none,
 * what QEMU and VMware read.
 *
 * Terms: the disk is a row of extents, each in a file; a descriptor, text in a
 * file of its own or inside the only extent, lists them.  A sparse extent has
 * a grain directory (GD), whose entries (GDE) point to grain tables (GT), whose
 * entries (GTE) point to grains.  Numbers in the files are little-endian, and
 * count sectors of 512 bytes.
 *
 * Writable sparse extents are of two kinds: with tables in place (write.c),
 * and stream-optimized ones, which are a log of packed grains (stream.c).
 *
 * Locks: what can change after open is guarded by the image's meta lock.
 */
#ifndef IMGD_VMDK_H
#define IMGD_VMDK_H

#include "../codec/codec.h"
#include "../core/clusterset.h"
#include "../core/space.h"
#include "../core/tables.h"
#include "../driver.h"

#define VMDK_MAGIC     0x564d444bu /* "KDMV" in the file */
#define VMDK_COWD      0x44574f43u /* "COWD" in the file */
#define VMDK_SESPARSE  0xcafebabeull
#define VMDK_GD_AT_END UINT64_MAX /* of the header: the footer has it */

#define VMDK_F_NEWLINES	  0x1u /* header flags */
#define VMDK_F_REDUNDANT  0x2u
#define VMDK_F_ZERO_GTE	  0x4u
#define VMDK_F_COMPRESSED 0x10000u
#define VMDK_F_MARKERS	  0x20000u

#define VMDK_GRAIN_LEN	   65536u /* bytes, of images that we make */
#define VMDK_GRAIN_LEN_MAX (64u << 20)
#define VMDK_GT_N	   512u /* entries of a hosted grain table, at most */
#define VMDK_COWD_GT_N	   4096u
#define VMDK_COWD_LEN_MAX  ((uint64_t)UINT32_MAX * SECTOR_LEN) /* of a disk */
#define VMDK_GTE_ZERO	   1u /* with VMDK_F_ZERO_GTE */
#define VMDK_HOST_MAX	   ((uint64_t)UINT32_MAX * SECTOR_LEN)
#define VMDK_DESC_HOST	   512u		      /* of an embedded descriptor */
#define VMDK_DESC_LEN	   (20u * SECTOR_LEN) /* room for it */
#define VMDK_DESC_LEN_MAX  (1u << 20)	      /* of one that is read */
#define VMDK_EXTENTS_MAX   2048u
#define VMDK_NO_PARENT	   0xffffffffu
#define VMDK_NEXT_PARENT   "#nextParentCID" /* a comment to others */

/* Markers of stream-optimized extents. */
#define VMDK_MARK_LEN	 12u /* bytes before the data of a packed grain */
#define VMDK_MARK_EOS	 0u
#define VMDK_MARK_GT	 1u
#define VMDK_MARK_GD	 2u
#define VMDK_MARK_FOOTER 3u

/* ---- the descriptor (descriptor.c) -------------------------------------- */

enum vmdk_kind { VMDK_FLAT, VMDK_ZERO, VMDK_SPARSE, VMDK_COW, VMDK_SE };

/* One extent line. */
struct vmdk_line {
	enum vmdk_kind kind;
	char type[12];	/* as written: "FLAT", "VMFSSPARSE", ... */
	char *file;	/* NULL: ZERO has none */
	uint64_t len;	/* bytes of the disk */
	uint64_t host;	/* FLAT: where it begins in the file */
	bool read_only; /* RDONLY */
};

struct vmdk_desc {
	char *text;    /* ends with a zero byte */
	uint64_t host; /* where it is in the image's file */
	uint64_t room; /* bytes that it may take there */
	uint32_t cid, parent_cid;
	uint32_t next_parent_cid; /* the parent is about to get; or none */
	char *create_type;
	char *parent; /* file name of the parent; NULL: none */
	struct vmdk_line *line;
	size_t line_n;
};

/* Takes over `text`, malloc'd. */
int vmdk_desc_parse(struct vmdk_desc *d, char *text, const char *name,
    bool embedded, struct err *e);
void vmdk_desc_clear(struct vmdk_desc *d);
/* The value of a key, malloc'd, without its quotes; NULL: there is none. */
char *vmdk_desc_get(const char *text, const char *key, struct err *e);
/* The line after this one; NULL: there is none. */
const char *vmdk_desc_next(const char *line);
/* The value in a line that has that key; NULL: it has not. */
const char *vmdk_desc_value(const char *line, const char *key);
/* The first line of a key; NULL: there is none. */
const char *vmdk_desc_find(const char *text, const char *key);
bool vmdk_desc_is_extent(const char *line);
/* Does it look like a descriptor file? */
bool vmdk_desc_probe(const uint8_t *buf, size_t len);
/* The CID that means "no parent" cannot be that of one. */
int vmdk_check_parent_cid(const char *name, uint32_t cid, struct err *e);
/* A CID that no image has yet, as likely as that can be. */
uint32_t vmdk_cid_new(void);

/* ---- changing it (desc_edit.c, desc_store.c) ----------------------------- */

/* *text, malloc'd, with the line of a key changed, added after that of `after`,
 * or (fmt NULL) left out. */
int vmdk_desc_edit(char **text, const char *key, const char *after,
    struct err *e, const char *fmt, ...) __attribute__((format(printf, 5, 6)));
bool vmdk_desc_fits(const struct image *img, const char *text);
/* Put another text in place, durable; takes it over, malloc'd. */
int vmdk_desc_store(struct image *img, char *text, struct err *e);
/* What a crash has left elsewhere goes where it belongs. */
int vmdk_desc_go_home(struct image *img, struct err *e);
/* Another CID, durable. */
int vmdk_desc_store_cid(struct image *img, uint32_t cid, struct err *e);
/* Is it that of the parent, or the one that it was about to get? */
bool vmdk_desc_knows(const struct vmdk_desc *d, uint32_t cid);
/* The parent, which is open, has got it, or it has not. */
int vmdk_desc_settle(struct image *img, struct err *e);
/* The disk has `size` bytes, and its extents are the first `n` that it has, the
 * last of them of `len` bytes, and those of the lines in `more`. */
int vmdk_desc_resize(struct image *img, size_t n, uint64_t len,
    const char *more, uint64_t size, struct err *e);
/* All extents lie in files, which have those names. */
int vmdk_desc_rename(struct image *img, char *const *name, struct err *e);
/* Is the file as if no other text had been stored? */
bool vmdk_desc_is_old(struct image *img);

/* ---- headers of sparse extents (header.c) ------------------------------- */

struct vmdk_header {
	uint32_t version;
	uint32_t flags;
	uint64_t capacity, grain;   /* sectors */
	uint64_t desc, desc_n;	    /* sectors */
	uint32_t gt_n;		    /* entries */
	uint64_t rgd, gd, overhead; /* sectors */
	bool unclean;
	uint16_t compression; /* 1: deflate */
};

/* -1 when it is none: ERR_NOT_FORMAT. */
int vmdk_header_unpack(
    struct vmdk_header *h, const uint8_t *buf, const char *name, struct err *e);
void vmdk_header_pack(const struct vmdk_header *h, uint8_t buf[SECTOR_LEN]);
int vmdk_header_write(
    struct hostfile *f, const struct vmdk_header *h, struct err *e);

/* That of an ESX extent: 32-bit numbers, in one sector. */
enum {
	VMDK_COWD_CAPACITY = 12, /* sectors */
	VMDK_COWD_GRAIN = 16,
	VMDK_COWD_GD = 20,
	VMDK_COWD_GD_N = 24, /* entries */
	VMDK_COWD_FREE = 28, /* the next sector that others take for new data */
};

/* ---- the image ---------------------------------------------------------- */

struct vmdk_stream;

struct vmdk_extent {
	enum vmdk_kind kind;
	char type[12]; /* as info shows it */
	struct hostfile *file;
	bool owns_file;	     /* not the image's own one */
	uint64_t guest, len; /* bytes of the disk */
	uint64_t host;	     /* FLAT */

	/* Sparse ones. */
	struct vmdk_header h; /* hosted */
	struct tables *tables;
	uint64_t grain_len;		  /* bytes; a power of two */
	uint64_t gd_host, rgd_host, gd_n; /* rgd_host 0: none */
	uint32_t gt_n, gt_len;		  /* entries, bytes */
	uint64_t se_gts, se_grains;	  /* SE: host bytes where those begin */
	bool compressed, zero_gte;
	bool lost_footer;	/* of a stream, and its tables were recovered */
	struct space space;	/* of writable ones */
	struct clusterset meta; /* sectors of metadata, of writable ones */
	uint64_t free_end;	/* COW: host byte, as the header says */
	uint64_t first_end;	/* host byte: the end of the space at first */
	struct clusterset
	    ours; /* grain tables that were changed: see write.c */
	struct vmdk_stream *stream; /* writable, or recovered */
};

struct vmdk {
	struct vmdk_desc desc;
	struct vmdk_extent *extent;
	size_t n;
	bool embedded;	   /* the only extent has the descriptor in it */
	bool wrong_parent; /* the CID of the parent is another one */
};

static inline struct vmdk *vmdk_of(const struct image *img)
{
	return img->priv;
}

/* The extent of a guest byte, which lies inside the disk. */
struct vmdk_extent *vmdk_extent_at(const struct vmdk *v, uint64_t guest);

/* ---- opening extents (extent.c) ----------------------------------------- */

/* Read the header of a sparse extent; x->kind, file and len are set. */
int vmdk_sparse_open(struct image *img, struct vmdk_extent *x, struct err *e);
/* All that the descriptor lists. */
int vmdk_extents_open(struct image *img, struct err *e);
/* What writing needs to know of a sparse extent with tables in place. */
int vmdk_extent_own(struct image *img, struct vmdk_extent *x, struct err *e);
void vmdk_extent_close(struct vmdk_extent *x);

/* ---- tables (map.c) ------------------------------------------------------ */

/* "NAME: grain table 3: entry 4 ..." */
int vmdk_bad_entry(const struct vmdk_extent *x, uint64_t grain_ix,
    const char *why, struct err *e);
/* A GDE: host byte of the table; 0: none. */
int vmdk_gde(struct vmdk_extent *x, uint64_t gd_host, uint64_t gd_ix,
    uint64_t *gt_host, struct err *e);
/* The piece of a directory that has an entry, and where in it. */
struct table *vmdk_gd_slice(struct vmdk_extent *x, uint64_t gd_host,
    uint64_t gd_ix, uint32_t *at, struct err *e);

enum vmdk_gte { VMDK_GTE_HOLE, VMDK_GTE_ZEROES, VMDK_GTE_DATA, VMDK_GTE_BAD };
/* What an entry says; *host: of the grain, which begins before `end`. */
enum vmdk_gte vmdk_gte_get(const struct vmdk_extent *x, const uint8_t *gt,
    uint32_t ix, uint64_t end, uint64_t *host);
/* Host byte where the file, or the space that is being filled, ends. */
uint64_t vmdk_end(const struct vmdk_extent *x);
/* The same for the entries of one table. */
uint64_t vmdk_gt_end(const struct vmdk_extent *x, uint64_t gd_ix);
int vmdk_map(struct image *img, uint64_t guest, uint64_t len, struct extent *x,
    struct err *e);

/* ---- writing (write.c, stream.c) ----------------------------------------- */

int vmdk_first_write(struct image *img, struct err *e);
int vmdk_reserve(struct image *img, uint64_t guest, uint64_t len,
    uint64_t stored, struct reservation *r, struct err *e);
int vmdk_publish(struct image *img, const struct reservation *r, struct err *e);
void vmdk_abandon(struct image *img, const struct reservation *r);
int vmdk_unmap(struct image *img, uint64_t guest, uint64_t len,
    enum unmap_how how, uint64_t *done, struct err *e);
/* n entries from that of grain_ix on, all of one table: the first one, and
 * `step` more for each next.  meta exclusive. */
int vmdk_set_entries(struct image *img, struct vmdk_extent *x,
    uint64_t grain_ix, uint64_t n, uint32_t entry, uint32_t step,
    struct err *e);
/* COW: others put what is new there; it goes up before entries point to ours.
 */
int vmdk_raise_free_end(struct vmdk_extent *x, uint64_t end, struct err *e);
int vmdk_commit(struct image *img, struct err *e);

/* A log that is not closed is read from its markers, into memory. */
int vmdk_stream_recover(struct vmdk_extent *x, struct err *e);
int vmdk_stream_reserve(struct vmdk_extent *x, uint64_t guest, uint64_t stored,
    struct reservation *r, struct err *e);
int vmdk_stream_publish(
    struct vmdk_extent *x, const struct reservation *r, struct err *e);
void vmdk_stream_abandon(struct vmdk_extent *x, const struct reservation *r);
/* The GTE of a grain, from memory. */
uint32_t vmdk_stream_get(const struct vmdk_extent *x, uint64_t grain_ix);
/* The first grain from grain_ix on that has an entry, at most end_ix. */
uint64_t vmdk_stream_next(
    const struct vmdk_extent *x, uint64_t grain_ix, uint64_t end_ix);
/* Write tables and footer, if anything was written. */
int vmdk_stream_finish(struct vmdk_extent *x, struct err *e);
void vmdk_stream_free(struct vmdk_extent *x);
/* More tables; what is not closed says that in its header then. */
int vmdk_stream_grow(struct vmdk_extent *x, uint64_t gd_n, struct err *e);
/* Grains past `len` go, and the header says so. */
int vmdk_stream_cut(
    struct image *img, struct vmdk_extent *x, uint64_t len, struct err *e);
/* The footer between its markers, at `host`. */
int vmdk_footer_write(struct vmdk_extent *x, uint64_t host, struct err *e);

/* ---- the rest ------------------------------------------------------------ */

extern const struct img_opt vmdk_create_opts[];
int vmdk_create(const struct create_args *a, struct err *e);
bool vmdk_makes_files(struct options *o);
int vmdk_move(
    struct image *img, const char *to, bool replace_old, struct err *e);
int vmdk_create_check(const struct create_args *a, struct err *e);
int vmdk_measure(struct options *o, uint64_t size, struct image *src,
    struct img_measure *out, struct err *e);
int vmdk_describe(struct image *img, struct img_info *out, struct err *e);
int vmdk_check(struct image *img, struct img_check *out,
    void (*report)(void *, const char *), void *arg, struct err *e);
int vmdk_repair(struct image *img, enum img_repair what, struct img_check *out,
    void (*report)(void *, const char *), void *arg, struct err *e);
int vmdk_resize(struct image *img, uint64_t size, enum img_prealloc prealloc,
    struct err *e);
int vmdk_set_backing(struct image *img, const char *name, const char *format,
    bool trial, struct err *e);
int vmdk_renew_below(struct image *img, struct err *e);
/* Says that the parent is another one. Returns -1. */
int vmdk_wrong_parent(const struct image *img, struct err *e);

#endif
