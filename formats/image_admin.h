/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Disk images, the second half of the public interface: what is done to images
 * as a whole.  Included by image.h, which says what holds for all of it.
 */
#ifndef IMGD_IMAGE_ADMIN_H
#define IMGD_IMAGE_ADMIN_H

#include "image.h"

/* ---- administration --------------------------------------------------- */

/* An option that a format takes when an image is created or amended. */
enum img_opt_type { IMG_OPT_STR, IMG_OPT_NUM, IMG_OPT_SIZE, IMG_OPT_BOOL };
struct img_opt {
	const char *name;
	enum img_opt_type type;
	const char *help;  /* NULL: it is not listed */
	const char *shown; /* value printed by create when it is not given;
			      NULL: then it is not printed */
};

struct img_format {
	const char *name;
	bool can_create, can_backing, can_pack, can_check, can_resize;
	bool can_measure, has_snapshots, has_bitmaps;
	bool born_random; /* a new disk does not read as zeroes */
	const struct img_opt *create_opts; /* ends with a NULL name */
	const struct img_opt *amend_opts;  /* the same; NULL: none */
};
/* Those that every format takes for a file that is made; ends likewise. */
extern const struct img_opt img_file_opts[];
/* NULL when unknown.  Names are exact. */
const struct img_format *img_format_find(const char *name);
/* The i-th format in the order that they are listed; NULL past the end. */
const struct img_format *img_format_at(unsigned i);

/*
 * Make an image.  Options: `size` (required unless a backing file gives it),
 * `backing_file`, `backing_fmt` and what img_format lists; nothing is touched
 * when they are wrong.  An existing file is overwritten.
 * IMG_CREATE_UNCHECKED: -u, the backing file is not opened.
 */
#define IMG_CREATE_UNCHECKED 0x1u
int img_create(const char *name, const char *format, struct options *o,
    unsigned flags, struct err *e);
/* The same at `name` for what gets the name `known_as`, in the same folder,
 * when it is complete. */
int img_create_as(const char *name, const char *known_as, const char *format,
    struct options *o, unsigned flags, struct err *e);
/* Will there be further files beside it, with names made from its own?  Then it
 * gets another name by img_move(). */
bool img_create_makes_files(const char *format, struct options *o);
/* Remove an image that has such files, and could not be completed. */
void img_remove(const char *name, const char *format);
/*
 * An image that was made by img_create_as() gets the name that it is known as,
 * and its further files those that go with it.  IMG_MOVE_REPLACE: what stands
 * there is replaced, and is whole until then.  On failure what was to be
 * replaced is as it was, and the image is gone; where that cannot be done, the
 * image is in its place.  Nobody has it open.
 */
#define IMG_MOVE_REPLACE 0x1u
#define IMG_MOVE_DURABLE 0x2u
int img_move(const char *name, const char *to, const char *format,
    unsigned flags, struct err *e);
/* Are these options of that format, with values of their types?  No more. */
int img_create_check(const char *format, struct options *o, struct err *e);
/*
 * The first step of img_create(), to be able to say what will be made: checks
 * names and types of the options and looks at the backing file.  Sets `size`
 * where the backing file gives it.
 */
int img_create_prepare(const char *name, const char *format, struct options *o,
    unsigned flags, struct err *e);
/* On open, empty host storage; the reference stays the caller's. */
int img_create_host(
    struct hostfile *f, const char *format, struct options *o, struct err *e);

enum img_prealloc {
	IMG_PREALLOC_OFF = 0,
	IMG_PREALLOC_METADATA,
	IMG_PREALLOC_FALLOC,
	IMG_PREALLOC_FULL,
};
/* "off", "metadata", ...: false when unknown. */
bool img_prealloc_parse(const char *text, enum img_prealloc *out);

/* New guest size in bytes.  Shrinking throws away what is beyond. */
int img_resize(struct image *img, uint64_t size, enum img_prealloc prealloc,
    struct err *e);

/*
 * Change what the image was created with: `o` has some of img_format's
 * amend_opts.  What cannot be is refused before anything changes.  The disk
 * reads the same, also after a crash, but for what `size` and `data_file` say.
 */
int img_amend(struct image *img, struct options *o, struct err *e);

struct img_measure {
	uint64_t required, fully_allocated; /* host bytes            */
	int64_t bitmaps;		    /* host bytes; -1: no figure */
};
/*
 * What an image of `format` with options `o` would take.  `src` NULL: an empty
 * disk of size `o`'s size.
 */
int img_measure(const char *format, struct options *o, struct image *src,
    struct img_measure *out, struct err *e);

struct img_check {
	uint64_t check_errors;	     /* things that could not be looked at  */
	uint64_t corruptions, leaks; /* as found                            */
	uint64_t image_end;	     /* host bytes; 0 unknown               */
	uint64_t total, allocated, fragmented, packed; /* guest clusters      */
	uint64_t corruptions_fixed, leaks_fixed;       /* by img_repair()     */
};
/*
 * Read-only consistency check.  `report` gets one line (no newline) for each
 * finding; may be NULL.  -1 only when the check could not be done at all;
 * ENOTSUP: this format has none.
 */
int img_check(struct image *img, struct img_check *out,
    void (*report)(void *arg, const char *line), void *arg, struct err *e);

enum img_repair {
	IMG_REPAIR_LEAKS = 1, /* give back space that nothing uses: refused
				 where counts are too damaged to do it        */
	IMG_REPAIR_ALL,	      /* whatever can be repaired                     */
};
/*
 * Check, and repair what is found, for a handle with IMG_O_CHECK | IMG_O_RDWR.
 * *out says what is wrong afterwards.  A crash or a failure at any moment
 * leaves nothing worse than it was.
 */
int img_repair(struct image *img, enum img_repair what, struct img_check *out,
    void (*report)(void *arg, const char *line), void *arg, struct err *e);

/* ---- copying and comparing -------------------------------------------- */

struct img_progress {
	/* May be NULL. done <= total, in bytes; called from one thread at a
	   time.  Non-zero: stop, with ECANCELED. */
	int (*step)(void *arg, uint64_t done, uint64_t total);
	void *arg;
};
/*
 * For what takes no progress of its own and may take long: check, measure (of
 * the source), amend, resize, and snapshots, which are not stopped.
 */
void img_set_progress(struct image *img, struct img_progress progress);

#define IMG_COPY_PACK	     0x1u  /* compress                               */
#define IMG_COPY_TARGET_ZERO 0x2u  /* the target reads as zeroes already     */
#define IMG_COPY_UNORDERED   0x4u  /* target space in any order (-W)         */
#define IMG_COPY_OFFLOAD     0x8u  /* -C: only in-kernel copies may be tried */
#define IMG_COPY_SALVAGE     0x10u /* unreadable sectors become zeroes      */
/*
 * Share blocks where the file systems can: then data is not read, so zeroes in
 * it are not left out.  Not with PACK, SALVAGE, or sparse_len 0.
 */
#define IMG_COPY_SHARE 0x20u
/* The layer itself is to have the zeroes, even where it reads so already. */
#define IMG_COPY_EXPLICIT 0x40u

struct img_copy {
	struct image **src; /* inputs, one after the other                  */
	size_t src_n;
	struct image *dst;
	uint64_t dst_off;    /* guest byte of dst for the first source byte  */
	uint64_t len;	     /* bytes to copy, or UINT64_MAX: all            */
	uint64_t src_off;    /* skip that many source bytes                  */
	bool backing;	     /* dst has a backing file: what no source layer
				above it has stays unallocated               */
	unsigned flags;	     /* IMG_COPY_*                                   */
	unsigned threads;    /* 0: as many as there are processors, and for
				an NBD export at least a few                 */
	uint32_t sparse_len; /* shortest run of zeroes left out; 0: write all */
	uint64_t rate;	     /* bytes a second, 0 = no limit                 */
	int level;	     /* of compression; 0 default                    */
	struct img_progress progress;
	/* --salvage; called from any thread */
	void (*warn)(void *arg, const char *line);
	void *warn_arg;
};
/*
 * Copy.  Same inputs give the same output bytes whatever the number of
 * threads, unless IMG_COPY_UNORDERED.  Memory is bounded by the number of
 * threads.  The target is not flushed.
 */
int img_copy(const struct img_copy *job, struct err *e);

enum img_compare_result {
	IMG_SAME = 0,
	IMG_DIFFER_CONTENT, /* at `offset`                                 */
	IMG_DIFFER_SIZE,    /* strict                                      */
	IMG_DIFFER_STATUS,  /* strict: block status at `offset`            */
};
struct img_compare {
	struct image *a, *b;
	bool strict;
	unsigned threads; /* 0: as many as there are processors */
	struct img_progress progress;
	/* results */
	enum img_compare_result result;
	uint64_t offset;
	bool size_differs; /* not strict: the rest of the longer one was looked
			      at */
	bool read_failed;  /* when -1: it was a read, not a block status */
};
int img_compare(struct img_compare *job, struct err *e);

/* ---- chains ------------------------------------------------------------ */

/*
 * How far below the top the layer of that name is: as the image above it names
 * it, or a path of its file.  0: none.
 */
unsigned img_find_below(struct image *img, const char *name);

struct img_merge {
	struct image *top;  /* with its chain                            */
	struct image *base; /* a layer of that chain, opened for writing */
	bool keep;	    /* the top stays as it is                    */
	uint64_t rate;	    /* bytes a second, 0 = no limit              */
	struct img_progress progress;
};
/*
 * Copy to the base what the layers above it have.  A smaller base grows.
 * Unless `keep`, the top, which has to be writable and right above the base,
 * is then emptied, after the base is durable; a format that cannot do it keeps
 * what it has.
 */
int img_merge(const struct img_merge *job, struct err *e);

/*
 * Record another backing file, or none (NULL, NULL), and nothing else: what
 * shows through is not looked at.  For a handle with IMG_O_NO_BACKING.
 */
int img_set_backing(
    struct image *img, const char *name, const char *format, struct err *e);

struct img_rebase {
	struct image *img; /* writable, with its chain                    */
	const char *name;  /* the new backing file, as seen from the
			      image; NULL: none                           */
	const char *format;
	struct img_open how; /* for it; `format` and IMG_O_RDWR are not used */
	bool pack;	     /* compress what is copied                    */
	struct img_progress progress;
};
/*
 * The same so that the disk reads as before: what would show otherwise is
 * copied into the image first.  Whether the name can be recorded is seen
 * before.  On success the handle reads through the new chain.
 */
int img_rebase(const struct img_rebase *job, struct err *e);

#endif
