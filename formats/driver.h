/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a format implements, and what the core gives it.
 *
 * Only the drv_*() wrappers of core/drv.h call these pointers.  They hold the
 * locks that the comments name and check the answers.
 *
 * Locks, outer to inner (a thread may skip levels, never go back up):
 *   1 gate    shared by requests; exclusive for resize, snapshot, close
 *   2 range   guest ranges of writers, zero and trim
 *   - bitmaps see core/bitmap.h
 *   3 meta    shared for map; exclusive for reserve, publish, abandon, unmap,
 *             release.  Never held across guest data I/O
 *   4 leaves  table buckets, quarantine, batch
 */
#ifndef IMGD_DRIVER_H
#define IMGD_DRIVER_H

#include "core/bitmap.h"
#include "core/gate.h"
#include "core/lock.h"
#include "core/node.h"
#include "core/pin.h"
#include "core/quarantine.h"
#include "core/range.h"
#include "core/units.h"
#include "host/hostfile.h"
#include "image.h"

enum ext_kind {
	EXT_HOLE = 1, /* nothing here: ask the backing image, or zeroes    */
	EXT_ZERO,     /* reads as zeroes, whatever the backing image holds */
	EXT_DATA,     /* byte for byte at file+host                        */
	EXT_PACKED,   /* inside a stored unit that a codec must unpack     */
};
#define EXT_F_SHARED                                                           \
	0x1u		 /* host bytes have another owner: never write here    \
			  */
#define EXT_F_SPACE 0x2u /* EXT_ZERO, EXT_HOLE: there is host space for it */
#define EXT_F_CRYPT 0x4u /* EXT_DATA through the image's cipher             */
#define EXT_F_META                                                             \
	0x8u /* damaged: host bytes are live metadata too (I4):                \
		reads go on, never written */

struct extent {
	uint64_t guest, len; /* guest bytes [guest, guest + len), len > 0    */
	enum ext_kind kind;
	unsigned flags; /* EXT_F_*                                      */
	struct hostfile *file;
	uint64_t host; /* DATA: the byte of `guest`; PACKED: the unit  */
	struct {
		uint64_t unit;	   /* guest byte where the unit begins       */
		uint32_t unit_len; /* bytes when unpacked                    */
		uint32_t stored;   /* bytes in the file                      */
		uint8_t codec;	   /* enum codec                             */
	} packed;
};

/* Host space for a guest range, between reserve and publish or abandon (I7). */
struct reservation {
	uint64_t guest, len; /* guest bytes; covers the start of what was
				asked; whole fill units of the format      */
	struct hostfile *file;
	uint64_t host;	 /* the byte of `guest`                        */
	uint64_t stored; /* bytes, for a packed unit; else 0           */
	bool zeroed;	 /* the space reads as zeroes until written    */
	bool owned;	 /* the old mapping owns the space: abandon
			    gives nothing back                         */
	bool space_only; /* for publish, set by the core: the guest reads
			    what it read before                        */
};

/* How a range is unmapped. */
enum unmap_how {
	UNMAP_ZERO,	 /* must read as zeroes, keep space if that is easy */
	UNMAP_ZERO_TRIM, /* must read as zeroes, give space back            */
	UNMAP_TRIM,	 /* contents do not matter, give space back         */
};

enum meta_kind { /* owners of host space, for walk */
	META_HEADER,
	META_TABLE, /* mapping tables */
	META_COUNT, /* reference counts */
	META_SNAPSHOT,
	META_BITMAP,
	META_OTHER,
	META_DATA,
	META_PACKED,
};

/* One host extent with its owner, as walk reports it. */
struct walk_extent {
	uint64_t host, len; /* bytes in the image's own file */
	enum meta_kind kind;
	const char *owner; /* for messages: "L2 table 3" */
	uint64_t guest;	   /* of data; else UINT64_MAX */
};
struct walker {
	int (*extent)(
	    struct walker *, const struct walk_extent *, struct err *);
};

/* What create is given: options are read, checked and no longer pending. */
struct create_args {
	struct hostfile *file; /* open, writable, empty */
	const char *name;      /* of the image, for names relative to it */
	const char *known_as;  /* its name when it is complete, in the same
				  folder: files that say it say this one */
	uint64_t size;	       /* guest bytes */
	const char *backing, *backing_fmt; /* NULL: none */
	struct options *o;		   /* the format's own options */
	unsigned open_flags;		   /* HOST_* for further files */
};

#define PROBE_HEAD_LEN 4096u
#define PROBE_TAIL_LEN 512u
/* What a format is recognised by: the ends of the file. */
struct probe_in {
	const uint8_t *head, *tail; /* the first and the last bytes */
	size_t head_len, tail_len;  /* as above, or all of a shorter file */
	uint64_t file_len;
	const char *name;
};

struct driver {
	struct img_format info;
	bool read_only;	 /* images of it are never opened for writing */
	bool no_backing; /* nothing can show through: all of it is there */

	/*
	 * Is the file of this format?  Claims as little as it can: of a file
	 * that two formats claim none is opened.  NULL: when no other does.
	 */
	bool (*probe)(const struct probe_in *p);
	/*
	 * Read and check the header; set img->size, unit, fill_unit, priv.
	 * Nothing is written.  No locks.  On failure close() is not called.
	 */
	int (*open)(struct image *img, struct options *o, struct err *e);
	/* After the backing chain is known; may write (recovery).  Optional. */
	int (*start)(struct image *img, struct err *e);
	/*
	 * Before the first write to the disk through this handle, with the gate
	 * shared, e.g. a new identity of the contents; durable when it returns.
	 * One thread at a time, until it succeeds.  Optional.
	 */
	int (*first_write)(struct image *img, struct err *e);
	/* Last words, e.g. clear a dirty bit.  Image flushed.  Optional. */
	int (*stop)(struct image *img, struct err *e);
	void (*close)(struct image *img);
	/* What is at `guest`?  At most `len` bytes.  meta shared. */
	int (*map)(struct image *img, uint64_t guest, uint64_t len,
	    struct extent *x, struct err *e);

	/*
	 * Writable formats; a format whose data is always DATA and never
	 * SHARED leaves them NULL.  meta exclusive.
	 *
	 * reserve: find host space for the start of [guest, guest + len).
	 *   stored > 0: for one packed unit of that many bytes.  Takes the
	 *   tables that publish will need too: where things go depends on
	 *   the order of the reserves alone, never on that of the publishes.
	 * publish: repoint the mapping; the old space goes to
	 *   quarantine_add().  May fail: the image is FAILED then.
	 * abandon: give the space back; the mapping is as before.
	 * unmap: [guest, guest + len) as `how` says, up to *done bytes; whole
	 *   units, and whole grains to make zeroes.  *done = 0: not possible
	 *   here, write zeroes instead.  On failure each is as before, or done.
	 * release: space that left quarantine; lower its counts.
	 * commit: without locks: make all published mappings durable in
	 *   the order of I3.  Called by one thread at a time.
	 */
	int (*reserve)(struct image *img, uint64_t guest, uint64_t len,
	    uint64_t stored, struct reservation *r, struct err *e);
	int (*publish)(
	    struct image *img, const struct reservation *r, struct err *e);
	void (*abandon)(struct image *img, const struct reservation *r);
	int (*unmap)(struct image *img, uint64_t guest, uint64_t len,
	    enum unmap_how how, uint64_t *done, struct err *e);
	int (*release)(
	    struct image *img, uint64_t host, uint64_t len, struct err *e);
	int (*commit)(struct image *img, struct err *e);

	int (*create)(const struct create_args *a, struct err *e);
	/* See img_create_makes_files().  Optional. */
	bool (*makes_files)(struct options *o);
	/* With makes_files: remove the further files; give them, and the image,
	 * the names that they have when it is called `to`, in the same folder.
	 * `replace`: what stands there goes.  See img_move(). */
	void (*unlink_files)(struct image *img);
	int (*move)(
	    struct image *img, const char *to, bool replace, struct err *e);
	/* Check options only, touch nothing.  Optional. */
	int (*create_check)(const struct create_args *a, struct err *e);
	/* gate exclusive: no request is running. */
	int (*resize)(struct image *img, uint64_t size,
	    enum img_prealloc prealloc, struct err *e);
	int (*walk)(struct image *img, struct walker *w, struct err *e);
	int (*check)(struct image *img, struct img_check *out,
	    void (*report)(void *, const char *), void *arg, struct err *e);
	/* gate exclusive; the image was opened with IMG_O_CHECK. */
	int (*repair)(struct image *img, enum img_repair what,
	    struct img_check *out, void (*report)(void *, const char *),
	    void *arg, struct err *e);
	int (*measure)(struct options *o, uint64_t size, struct image *src,
	    struct img_measure *out, struct err *e);
	/* Fill cluster_size, dirty, encrypted, specific of the info. */
	int (*describe)(struct image *img, struct img_info *out, struct err *e);
	const struct snapshot_ops *snapshots; /* NULL: none */
	const struct bitmap_ops *bitmaps;     /* NULL: none; core/bitmap.h */
	const struct amend_ops *amend;	      /* NULL: none */
	/*
	 * Every unit of the disk becomes a hole.  The gate is closed,
	 * everything is committed.  Optional.
	 */
	int (*make_empty)(struct image *img, struct err *e);
	/*
	 * Name another backing file, or none (NULL, NULL).  `trial`: only see
	 * whether that can be done.  The gate is closed, everything is
	 * committed.  Formats without backing files leave it NULL.
	 */
	int (*set_backing)(struct image *img, const char *name,
	    const char *format, bool trial, struct err *e);
	/*
	 * The image below, which is open for writing, is going to get what this
	 * one has: then it is another one to whoever else is above it.  This
	 * image takes note, and after a crash still knows what is below it. The
	 * gate is closed, everything is committed.  Optional.
	 */
	int (*renew_below)(struct image *img, struct err *e);
};

struct snapshot_ops {
	int (*list)(struct image *img, struct img_snapshot **list, size_t *n,
	    struct err *e);
	/* The gate is closed, everything is committed. */
	int (*create)(struct image *img, const char *name, struct err *e);
	int (*apply)(struct image *img, const char *which, struct err *e);
	int (*delete)(struct image *img, const char *which, struct err *e);
};

struct amend_ops {
	/*
	 * Make the image what `o` asks for; its names and types are checked
	 * against info.amend_opts.  What cannot be is refused before anything
	 * changes; a failure later leaves some of it done.  The gate is closed,
	 * everything is committed.
	 */
	int (*amend)(struct image *img, struct options *o, struct err *e);
};

enum image_state {
	IMAGE_OK = 0,
	IMAGE_FAILED, /* a metadata write failed: reads only (I5) */
};

struct image {
	const struct driver *drv;
	void *priv; /* of the driver */
	char *name; /* as given */
	struct hostfile *file;
	unsigned flags;	     /* IMG_O_* */
	unsigned host_flags; /* HOST_* for further files of this image */
	enum img_gate open_gate;
	enum img_cache cache;
	const char *snapshot; /* while opening: the one to read, or NULL */

	/* Set by the driver's open(). */
	_Atomic uint64_t size; /* guest bytes; changes under gate exclusive */
	uint32_t unit;	 /* bytes that a write reserves and locks; 1: none */
	uint32_t grain;	 /* bytes that the mapping tells apart; 0: a unit */
	bool refines;	 /* host holes are holes of the disk too (raw) */
	bool placed;	 /* all of it has its place in the file: host holes are
			    told to the byte, where others tell whole units */
	uint8_t codec;	 /* enum codec that new packed units are written with;
			    CODEC_NONE: it takes none */
	bool packs_only; /* it takes no other units: packed ones may be longer
			    than a unit, as long as codec_bound() */
	uint32_t packed_len; /* of packed units at most; 0: a unit */
	/* How all of its data is encrypted, or NULL; it frees itself with the
	 * image.  Then every EXT_DATA of it has EXT_F_CRYPT: see core/crypt.h.
	 */
	struct cipher *cipher;
	bool cipher_by_host; /* sectors are those of the host file */
	char *backing_name, *backing_fmt; /* as recorded; NULL none */
	char *backing_full;		  /* resolved, for img_info() */
	char *tree_name;		  /* for img_info(); NULL: name */
	bool opened;			  /* the driver's open() succeeded */
	bool has_backing;      /* something is below, whether opened or not */
	struct tables *tables; /* of the driver, or NULL */

	enum node_detect detect_zeroes; /* of writes to the disk */
	struct image *backing;		/* or NULL */
	bool probed;			/* format was guessed */

	struct gate gate;
	struct range_locks ranges;
	struct rwlock meta;
	struct pin pin;
	struct quarantine quarantine;
	_Atomic enum image_state state;
	_Atomic bool wants_commit;	/* much is dirty outside of `tables` */
	_Atomic uint64_t reserved_n;	/* reservations that are open (I7) */
	struct mutex first_lock;	/* for first_write() */
	_Atomic bool first_done;	/* it is, or there is none */
	struct mutex commit_lock;	/* see core/commit.c */
	_Atomic uint64_t commit_wanted; /* tickets */
	uint64_t commit_done;		/* under commit_lock */
	uint64_t commit_mark;		/* under commit_lock */
	struct packed_cache *packed;	/* see core/packed.h */
	struct bitmaps bitmaps;

	struct img_progress progress; /* see img_set_progress() */
	uint64_t work_done, work_total;
};

static inline bool image_writable(const struct image *img)
{
	return img->flags & IMG_O_RDWR;
}

/* After a failed metadata write: no more writes (I5). Returns -1. */
int image_fail(struct image *img, struct err *e);
/*
 * Long work of one thread, in steps of any unit: how much there is, and that
 * `n` of it was done.  -1 with ECANCELED when the user wants to stop; what
 * cannot stop goes on.
 */
void image_work_begin(struct image *img, uint64_t total);
int image_work(struct image *img, uint64_t n, struct err *e);
/*
 * Space of the image's own file that the mapping gave up just now; release()
 * will lower its counts.  `whole`: whole clusters; else bytes of a packed
 * unit.  `punch`: give it back to the host.  meta exclusive.
 */
int image_retire(struct image *img, uint64_t host, uint64_t len, bool whole,
    bool punch, struct err *e);
/* img_resize() for who has closed the gate, of what may be resized. */
int image_resize(struct image *img, uint64_t size, enum img_prealloc prealloc,
    struct err *e);
/* For tables_commit(): what is in quarantine now is covered by this commit. */
void image_commit_mark(void *img);
/*
 * What is below the image is not what it stands on, by an identity of that:
 * `what` it is called, what it `is` and what it `was`.  Returns -1.
 */
int image_wrong_parent(const struct image *img, const char *what,
    const char *is, const char *was, struct err *e);
/* `name`, if relative, as seen from the folder of the image `base`.  malloc'd;
 * NULL when out of memory. */
char *image_resolve(const char *base, const char *name, struct err *e);
/* A relative name behind the `./` that it begins with: relative still. */
const char *image_skip_here(const char *name);

extern const struct driver bochs_driver, cloop_driver, dmg_driver, luks_driver,
    parallels_driver, qcow_driver, qcow2_driver, qed_driver, raw_driver,
    vdi_driver, vhdx_driver, vmdk_driver, vpc_driver;
/* Storage as it is: see raw.c. */
extern const struct driver file_driver, host_device_driver, nbd_driver;

#endif
