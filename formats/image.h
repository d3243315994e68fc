/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Disk images: the public interface of the format core.
 *
 * A disk image is a mapping from guest ranges to host extents.  Guest offsets
 * and lengths are bytes.  A handle is a chain: an image and the backing images
 * below it.
 *
 * Threads: after img_open() any thread may call any function on a handle at
 * the same time, except img_close(), which comes last.  Reads that overlap a
 * write give, for each 512-byte sector, the old or the new bytes.
 *
 * Durability: a write is visible when the call returns; it is durable after
 * img_flush(), or at once with IMG_FUA.
 *
 * Errors: -1 or NULL with *e set (see core/err.h).  e->errnum is fit for the
 * wire: EROFS on a read-only handle, EINVAL past the end, ENOSPC, EIO, ...
 */
#ifndef IMGD_IMAGE_H
#define IMGD_IMAGE_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/cleanup.h"
#include "core/err.h"
#include "core/options.h"

#define IMG_SIZE_MAX INT64_MAX /* no disk is larger, bytes */

struct image;
struct hostfile;

/* ---- opening ---------------------------------------------------------- */

/* May an image name other files, and may those be opened? */
enum img_gate {
	IMG_GATE_ALLOW = 0, /* follow backing files, data files               */
	IMG_GATE_METADATA,  /* open none of them: only what the file says     */
	IMG_GATE_DENY,	    /* an image that names another file is refused    */
	IMG_GATE_OWN,	    /* allowed for the top layer, which the caller has
			       made; denied for those below                   */
};

enum img_cache {
	IMG_CACHE_WRITEBACK = 0,
	IMG_CACHE_NONE,		/* O_DIRECT                                */
	IMG_CACHE_WRITETHROUGH, /* each write is flushed                   */
	IMG_CACHE_DIRECTSYNC,	/* both                                    */
	IMG_CACHE_UNSAFE,	/* flush does nothing                      */
};
/* "writeback", "none" or "off", ...: false when unknown. */
bool img_cache_parse(const char *text, enum img_cache *out);

#define IMG_O_RDWR 0x01u
#define IMG_O_FORCE_SHARE                                                      \
	0x02u		       /* -U: take no locks; read-only handles only    \
				*/
#define IMG_O_CHECK	 0x04u /* for img_check(): open what is damaged     */
#define IMG_O_NO_BACKING 0x08u /* the top layer alone; HOLE reads as zeroes */
#define IMG_O_DISCARD	 0x10u /* trims give host space back               */
#define IMG_O_DEPTH	 0x20u /* img_map(): ask servers for their layers    */
#define IMG_O_FORCE	 0x40u /* img_amend() may do what loses the data   */

struct img_open {
	const char *format; /* NULL: find out (probe)                  */
	unsigned flags;	    /* IMG_O_*                                 */
	enum img_gate gate;
	enum img_cache cache;
	const char *snapshot; /* NULL, or the internal snapshot to read: an ID
				 or name, or snapshot.id=I,snapshot.name=N */
	unsigned connections; /* to a server, at most; 0: what is usual */
	const struct options *options; /* more of them for the top layer, such
					  as `key-secret`; NULL: none */
	unsigned writable_depth; /* not 0: the layer so far below the top is
				    opened for writing too, for img_merge() */
};

/*
 * Open an image and, as the gate says, its backing chain.  `name` is a path,
 * `file:PATH`, an NBD URI, or `json:{...}`.  A probed raw image opened for
 * writing sets img_probed_raw().
 */
struct image *img_open(
    const char *name, const struct img_open *how, struct err *e);
/* Is it the name of an image on a server, not a path? */
bool img_is_remote(const char *name);
/* The same from options (`driver=qcow2,file.filename=x`).  `how->format` must
 * be NULL.  `o` is not kept. */
struct image *img_open_options(
    struct options *o, const struct img_open *how, struct err *e);
/*
 * The same on host storage that is open already (takes over the caller's
 * reference, also on failure).  Relative names in it are relative to its name.
 */
struct image *img_open_host(
    struct hostfile *f, const struct img_open *how, struct err *e);
/*
 * Flush what is not durable, in every layer, and release everything.  -1 when
 * the last flush failed; the handle is gone in any case.
 */
int img_close(struct image *img, struct err *e);
/* The same where an error no longer matters.  NULL is allowed. */
void img_drop(struct image *img);
DEFINE_CLEANUP(image, struct image, img_drop)

/* ---- facts ------------------------------------------------------------ */

uint64_t img_size(const struct image *img);	 /* guest bytes              */
const char *img_name(const struct image *img);	 /* as given to img_open()   */
const char *img_format(const struct image *img); /* "qcow2"                 */
bool img_writable(const struct image *img);
bool img_probed_raw(const struct image *img);
/* What its user is to be told, behind "WARNING: "; `name` is what he called it.
 * The caller frees it; NULL without memory. */
char *img_probed_raw_warning(const char *name);
/* The image below, or NULL. It belongs to img. */
struct image *img_backing(struct image *img);
/* Bytes that are best written whole: cluster size, or 0 (none). */
uint32_t img_cluster_size(const struct image *img);

struct img_info {
	const char *filename; /* json:{...} where a name is not enough */
	const char *format;
	uint64_t virtual_size; /* bytes                                */
	int64_t actual_size;   /* bytes in use on the host; -1 unknown */
	uint64_t cluster_size; /* 0: none                              */
	int dirty;	       /* 0, 1; -1: the format cannot tell     */
	bool encrypted;
	const char *backing;	    /* as recorded; NULL none               */
	const char *backing_full;   /* resolved path; NULL if it cannot be  */
	const char *backing_format; /* as recorded; NULL none               */
	json_t *specific;	    /* {"type":..., "data":{...}} or NULL   */
	const char *protocol;	    /* "file", "host_device", ...           */
	const char *host_name;	    /* of the file that holds it            */
	uint64_t host_len;	    /* its length, bytes                    */
};
/* Strings live as long as img; free with img_info_clear(). */
int img_info(struct image *img, struct img_info *out, struct err *e);
void img_info_clear(struct img_info *i);

struct img_snapshot {
	char *id, *name;
	uint64_t vm_state_size;	      /* bytes                               */
	uint64_t disk_size;	      /* guest bytes when it was taken       */
	uint32_t date_sec, date_nsec; /* Unix time                           */
	uint64_t vm_clock_ns;
	int64_t icount; /* -1: unknown                         */
};
/* *list is the caller's: img_snapshots_free(). No support: 0 entries. */
int img_snapshots(
    struct image *img, struct img_snapshot **list, size_t *n, struct err *e);
void img_snapshots_free(struct img_snapshot *list, size_t n);
/* Take one of the disk as it is; names need not be unique, 255 bytes count. */
int img_snapshot_create(struct image *img, const char *name, struct err *e);
/* The disk becomes what it was, its size too; ID goes before name. */
int img_snapshot_apply(struct image *img, const char *which, struct err *e);
/* Name goes before ID. */
int img_snapshot_delete(struct image *img, const char *which, struct err *e);

/* ---- dirty bitmaps ------------------------------------------------------ */

/*
 * Which granules of the disk were written since the bitmap was made or
 * cleared.  They are stored in the image, and kept right by all writes: while
 * an image that was written is open its enabled bitmaps are marked in the file,
 * and a crash leaves them inconsistent.
 */
struct img_bitmap {
	char *name;
	uint64_t granularity; /* guest bytes                                 */
	bool enabled;	      /* writes are recorded                         */
	bool inconsistent;    /* can only be removed                         */
};
/* Can this image have bitmaps? */
bool img_can_bitmaps(const struct image *img);
/* *list is the caller's: img_bitmaps_free(). No support: 0 entries. */
int img_bitmaps(
    struct image *img, struct img_bitmap **list, size_t *n, struct err *e);
void img_bitmaps_free(struct img_bitmap *list, size_t n);

/* Those that change a bitmap are durable when they return. */

/* Granularity: a power of two, 512 to 2 GiB; 0: a default. */
int img_bitmap_add(struct image *img, const char *name, uint64_t granularity,
    bool enabled, struct err *e);
int img_bitmap_remove(struct image *img, const char *name, struct err *e);
/* Nothing is dirty any more. */
int img_bitmap_clear(struct image *img, const char *name, struct err *e);
int img_bitmap_enable(
    struct image *img, const char *name, bool enabled, struct err *e);
/* What is dirty in a bitmap of src, which may be img, is dirty in img's. */
int img_bitmap_merge(struct image *img, const char *name, struct image *src,
    const char *src_name, struct err *e);

struct img_bitmap_extent {
	uint64_t len; /* guest bytes that are all dirty, or all not  */
	bool dirty;
};
/* What the bitmap says at `off`, at most `len` bytes.  off + len <=
 * img_size(), len > 0. */
int img_bitmap_map(struct image *img, const char *name, uint64_t off,
    uint64_t len, struct img_bitmap_extent *x, struct err *e);

/* ---- data ------------------------------------------------------------- */

#define IMG_FUA	     0x1u /* durable before the call returns             */
#define IMG_MAY_TRIM 0x2u /* zero: space may be given back               */
#define IMG_FAST     0x4u /* zero: ENOTSUP rather than writing zeroes    */

/* Reads outside the disk and writes outside it are refused with EINVAL. */
int img_pread(
    struct image *img, void *buf, size_t len, uint64_t off, struct err *e);
int img_pwrite(struct image *img, const void *buf, size_t len, uint64_t off,
    unsigned flags, struct err *e);
/* Make a range read as zeroes: hides the backing image too. */
int img_zero(struct image *img, uint64_t len, uint64_t off, unsigned flags,
    struct err *e);
/* The bytes are not needed any more; they may read as zeroes or as before. */
int img_trim(struct image *img, uint64_t len, uint64_t off, unsigned flags,
    struct err *e);
int img_flush(struct image *img, struct err *e);
/* Hint: the range will be read soon. */
int img_prefetch(struct image *img, uint64_t len, uint64_t off, struct err *e);
/*
 * Write one packed unit (see codec/codec.h): guest [off, off + cluster size),
 * the last one may be cut by the end of the disk.  ENOTSUP where the format
 * has none.
 */
int img_write_packed(struct image *img, const void *packed, size_t packed_len,
    uint64_t off, struct err *e);

/* ---- requests in batches ---------------------------------------------- */

/*
 * Two-step requests, so that many can share one batch of host I/O:
 *   img_plan()     look-ups only; adds the host I/O that it needs to a batch
 *   batch_run()    all host I/O of the batch; or batch_try(), and for the
 *                  requests that img_ready() says no to, batch_wait()
 *   img_finish()   unpack, zero fill; the result
 * Between plan and finish the request keeps what it saw valid (I1); the
 * caller must call img_finish() for every request that was planned, in the
 * thread of its choice, whatever batch_run() returned; and before it calls
 * anything else on the image that may wait (img_plan() itself never does).
 */
enum img_op { IMG_READ, IMG_WRITE };

struct batch;
struct img_request {
	enum img_op op;
	unsigned flags; /* IMG_FUA */
	void *buf;	/* WRITE does not change it */
	size_t len;
	uint64_t off;
	void *state; /* of the core */
};

struct batch *batch_new(struct err *e);
void batch_free(struct batch *b); /* NULL is allowed */
/*
 * 1 planned; 0 this request cannot be planned (a write that allocates or has
 * to wait for another): call img_pread() or img_pwrite(), perhaps in another
 * thread; -1 refused.  Only after 1 img_finish() is owed.
 */
int img_plan(
    struct image *img, struct img_request *rq, struct batch *b, struct err *e);
/* Runs and empties the batch.  Errors are kept for each request. */
void batch_run(struct batch *b);
/* Runs what need not wait for storage; keeps the rest. */
void batch_try(struct batch *b);
/* Runs what batch_try() has kept; any thread. */
void batch_wait(struct batch *b);
/* Has all the host I/O of a planned request been run? */
bool img_ready(const struct img_request *rq);
int img_finish(struct image *img, struct img_request *rq, struct err *e);

/* Where bytes of the disk are, for who can send a file without reading it. */
struct img_place {
	int fd; /* of the image: not to be closed */
	uint64_t off;
};
/*
 * 1: guest [off, off + len) is in the page cache, in one piece at `place`, and
 * stays there while the handle is open: no write moves it, and its space is
 * not given to anything else.  0: not so; read it.  len > 0.
 */
int img_place(struct image *img, uint64_t len, uint64_t off,
    struct img_place *place, struct err *e);

/* ---- block status ----------------------------------------------------- */

struct img_extent {
	uint64_t start, len; /* guest bytes                                  */
	unsigned depth;	     /* layer that answers: 0 is the top; when none
				has it, the lowest that was asked            */
	bool present;	     /* some layer of the chain has it               */
	bool zero;	     /* reads as zeroes                              */
	bool data;	     /* host bytes must be read                      */
	bool packed;	     /* compressed                                   */
	bool has_offset;     /* `offset` is where guest byte `start` is ...  */
	uint64_t offset;
	const char *filename; /* ... in this file; lives as long as img       */
};
/*
 * The extent at `off`, at most `len` bytes, neighbours of the same kind merged
 * (contiguous offsets).  off + len <= img_size(), len > 0.
 */
int img_map(struct image *img, uint64_t off, uint64_t len, struct img_extent *x,
    struct err *e);
/* The same without going down the chain: one layer, depth 0; what it does not
 * have is present = false. */
int img_map_layer(struct image *img, uint64_t off, uint64_t len,
    struct img_extent *x, struct err *e);

#include "image_admin.h"

#endif
