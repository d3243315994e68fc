/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * qcow2, versions 2 and 3: what its files share.
 *
 * Specification: QEMU's docs/interop/qcow2.txt ("the specification" below).
 *
 * Terms: the L1 table points to L2 tables, whose entries point to clusters;
 * the refcount table (here: reftable) points to refcount blocks (refblock).
 * All numbers in the file are big-endian.
 *
 * Locks: everything in struct qcow2 that can change after open is guarded by
 * the image's meta lock; L1 and reftable move only under gate exclusive or
 * meta exclusive.
 */
#ifndef IMGD_QCOW2_H
#define IMGD_QCOW2_H

#include "../codec/codec.h"
#include "../core/clusterset.h"
#include "../core/tables.h"
#include "../driver.h"
#include "header.h"

struct qcow2 {
	struct qcow2_header h;
	uint32_t cluster_len;	 /* bytes */
	unsigned l2_entry_len;	 /* 8, or 16 with extended L2 */
	uint32_t l2_n;		 /* entries of an L2 table */
	uint32_t slice_len;	 /* bytes of a cached table piece */
	uint32_t sub_len, sub_n; /* subclusters: bytes of one, how many (1) */
	uint64_t refblock_n;	 /* entries of a refcount block */
	enum codec codec;
	bool data_raw;
	bool metadata_only;    /* a data file was not opened (gate) */
	struct luks *luks;     /* encrypted so; else NULL */
	struct hostfile *data; /* where guest clusters are: file or data file */

	/* Runtime options. */
	uint64_t cache_len; /* bytes of tables to keep */
	bool pass_discard;  /* a trim may punch the file */
	bool keep_space;    /* a trim keeps the cluster (discard-no-unref) */

	struct tables *tables;
	struct table **l1; /* slices, held while the image is open */
	uint32_t l1_slices_n;
	struct table **reftable; /* the same; NULL when opened read-only */
	uint32_t reftable_slices_n;
	struct clusterset meta; /* clusters that hold live metadata (I4);
				   only kept on a writable image */
	uint64_t end;		/* host bytes in use or allocated, whole
				   clusters: the file may be shorter yet */
	uint64_t free_cl;	/* no free cluster below this one */
	uint64_t packed_host;	/* next byte for packed data; 0: none */
};

static inline struct qcow2 *qcow2_of(const struct image *img)
{
	return img->priv;
}

/* header.c; more of it in header.h */
/* What is staged was written, or is not wanted. */
void qcow2_header_unstage(struct image *img);
/* Where the refcount table is goes to the file with the next commit, once the
 * table is durable.  meta exclusive. */
int qcow2_header_stage_reftable(struct image *img, struct err *e);
/* L1 entries that a disk needs. */
uint64_t qcow2_l1_entries(uint64_t size, unsigned cluster_bits, bool extended);
/* The same; false when over the limit. */
bool qcow2_l1_needed(const struct qcow2 *q, uint64_t size, uint64_t *n);

/* header_store.c */
/* The header in memory becomes the one on disk, after a crash too either this
 * or the old one; the last sync is the caller's.  Nothing of it is staged. */
int qcow2_header_write(struct image *img, struct err *e);

/* open.c */
int qcow2_load_l1(struct image *img, struct err *e);
int qcow2_load_reftable(struct image *img, struct err *e);
void qcow2_drop_slices(struct qcow2 *q, struct table **slice, uint32_t n);
/* Before the first write: autoclear features that are not kept up to date. */
int qcow2_clear_features(struct image *img, struct err *e);
/* Fill the derived numbers of q from q->h. */
void qcow2_geometry(struct qcow2 *q);

/* A table entry that breaks the specification. */
struct qcow2_bad {
	const char *table;
	uint64_t host, ix, entry;
};
int qcow2_bad_entry(const struct image *img, const struct qcow2_bad *b,
    const char *why, struct err *e);
/* Is [host, host + len) cluster-aligned space inside the file? */
bool qcow2_cluster_ok(const struct qcow2 *q, uint64_t host, uint64_t len);

/* metaset.c */
/* Fill the set of clusters that hold metadata. */
int qcow2_own_metadata(struct image *img, struct err *e);

/* runtime.c */
int qcow2_runtime_read(struct qcow2 *q, struct options *o, struct err *e);

/* map.c */
int qcow2_map(struct image *img, uint64_t guest, uint64_t len, struct extent *x,
    struct err *e);
/* An L2 entry; `sub` is its subcluster bitmap (extended L2). */
struct qcow2_entry {
	uint64_t l2, sub;
	uint64_t host; /* cluster, when not packed; 0: none */
};
enum qcow2_sub {
	QCOW2_SUB_HOLE,
	QCOW2_SUB_ZERO,
	QCOW2_SUB_DATA,
	QCOW2_SUB_PACKED,
	QCOW2_SUB_BAD,
};
void qcow2_entry_get(const struct qcow2 *q, const struct table *slice,
    uint32_t ix, struct qcow2_entry *out);
/* What a subcluster is (0: the cluster, without extended L2). */
enum qcow2_sub qcow2_sub_kind(
    const struct qcow2 *q, const struct qcow2_entry *n, unsigned sub_ix);
/* Does the entry own a host cluster (data, or kept behind zeroes)? */
bool qcow2_owns_space(const struct qcow2 *q, const struct qcow2_entry *n);
/* What breaks the specification in the entry of `guest`, or NULL. */
const char *qcow2_entry_fault(
    const struct qcow2 *q, const struct qcow2_entry *n, uint64_t guest);
/* The same as an error: ERR_DAMAGED. */
int qcow2_entry_check(struct image *img, const struct qcow2_entry *n,
    uint64_t guest, struct err *e);
/* Guest bytes that one L2 table maps. */
uint64_t qcow2_l2_span(const struct qcow2 *q);
uint64_t qcow2_l1_get(const struct qcow2 *q, uint64_t l1_ix);
/* The L2 slice that holds the entry of `guest`; NULL without error (and *e
 * clear) when there is no L2 table. *ix: entry index in the slice. */
struct table *qcow2_l2_slice(
    struct image *img, uint64_t guest, uint32_t *ix, struct err *e);
/* Where a packed unit is: from an L2 entry. */
void qcow2_packed_place(
    const struct qcow2 *q, uint64_t entry, uint64_t *host, uint32_t *stored);

/* reftable.c */
uint64_t qcow2_reftable_n(const struct qcow2 *q);
uint64_t qcow2_reftable_get(const struct qcow2 *q, uint64_t ix);
/* meta exclusive */
int qcow2_reftable_set(
    struct qcow2 *q, uint64_t ix, uint64_t host, struct err *e);
/* Where a refcount block is; 0: there is none. */
int qcow2_refblock_host(
    struct image *img, uint64_t ix, uint64_t *host, struct err *e);
/* How many blocks that count clusters [cl, cl + n) do not exist. */
int qcow2_refblocks_missing(struct image *img, uint64_t cl, uint64_t n,
    uint64_t *missing, struct err *e);
/* The same when the missing ones are put at cl, and the n clusters after. */
int qcow2_refblocks_needed(struct image *img, uint64_t cl, uint64_t n,
    uint64_t *blocks_n, struct err *e);
/* Put those blocks at cl, cl + 1, ... (free clusters). meta exclusive. */
int qcow2_refblocks_make(struct image *img, uint64_t cl, uint64_t n,
    uint64_t blocks_n, struct err *e);
/* Write zeroes where new metadata will be: a full disk shows here, before
 * anything has changed, and not in a commit. */
int qcow2_take_room(
    struct image *img, uint64_t host, uint64_t len, struct err *e);
/* The table is copied to `host`, where there is room for it; the header on disk
 * names the old one.  meta exclusive. */
int qcow2_reftable_move(struct image *img, uint64_t host, struct err *e);
/* Make the table large enough for entry `ix`.  meta exclusive. */
int qcow2_reftable_grow(struct image *img, uint64_t ix, struct err *e);

/* refcount.c: meta exclusive unless it says so */
int qcow2_refcount_get(
    struct image *img, uint64_t cl, uint64_t *out, struct err *e);
/* delta 1, -1, or 0: could it be raised?  Nothing changes then. */
int qcow2_refcount_add(
    struct image *img, uint64_t cl, uint64_t n, int delta, struct err *e);
/* The highest count of a range, and the first cluster that has it. */
struct qcow2_highest {
	uint64_t count, cl;
};
int qcow2_refcount_highest(struct image *img, uint64_t cl, uint64_t n,
    struct qcow2_highest *out, struct err *e);
/* Into a zeroed block of 1 << order bits a count, where they fit. */
int qcow2_refcount_copy(struct image *img, uint64_t cl, uint64_t n,
    uint8_t *block, unsigned order, struct err *e);
/* How many clusters from cl on, at most `want`, are all free or all used. */
int qcow2_refcount_run(struct image *img, uint64_t cl, uint64_t want,
    bool *used, uint64_t *run, struct err *e);
/* May those clusters be used, whose count is 0?  If not the image is damaged,
 * or the file too large. */
int qcow2_check_free(struct image *img, uint64_t cl, uint64_t n, struct err *e);
/* Can the cluster be referenced once more? */
bool qcow2_refcount_can_share(struct image *img, uint64_t cl);
/*
 * Take up to `want` contiguous free clusters (at least `least`), reference
 * count 1.  *host, *got.  File growth is left to the first write.
 */
int qcow2_alloc(struct image *img, uint64_t least, uint64_t want,
    uint64_t *host, uint64_t *got, struct err *e);

/* write.c */
int qcow2_reserve(struct image *img, uint64_t guest, uint64_t len,
    uint64_t stored, struct reservation *r, struct err *e);
int qcow2_publish(
    struct image *img, const struct reservation *r, struct err *e);
void qcow2_abandon(struct image *img, const struct reservation *r);
int qcow2_l1_set(
    struct image *img, uint64_t l1_ix, uint64_t entry, struct err *e);
/* The active L1 table does not point to an L2 table any more.  meta excl. */
int qcow2_retire_l2(struct image *img, uint64_t host, struct err *e);
/* Give the active L1 entry of `guest` an L2 table of its own.  meta excl. */
int qcow2_own_l2(struct image *img, uint64_t guest, struct err *e);
void qcow2_entry_put(const struct qcow2 *q, struct table *slice, uint32_t ix,
    const struct qcow2_entry *n);
/* The entry's space, if any, goes to quarantine. */
int qcow2_retire_entry(
    struct image *img, const struct qcow2_entry *n, bool punch, struct err *e);

/* packed.c */
int qcow2_reserve_packed(struct image *img, uint64_t guest, uint64_t stored,
    struct reservation *r, struct err *e);

/* unmap.c */
int qcow2_unmap(struct image *img, uint64_t guest, uint64_t len,
    enum unmap_how how, uint64_t *done, struct err *e);
int qcow2_release(
    struct image *img, uint64_t host, uint64_t len, struct err *e);
int qcow2_commit(struct image *img, struct err *e);

/* snapshot.c */
struct qcow2_snapshot {
	uint64_t l1_host; /* not checked, see qcow2_snapshot_l1_check() */
	uint32_t l1_n;
	uint32_t extra_len;
	uint64_t at;  /* where the entry is in the table, bytes */
	uint32_t len; /* of the entry without padding, or too much extra data */
	struct img_snapshot vm;
};
struct qcow2_snapshot_table {
	struct qcow2_snapshot *item;
	size_t n;
	uint64_t len;	   /* bytes in the file */
	uint64_t kept_len; /* of these, without extra data that is too long */
};
int qcow2_snapshots_read(
    struct image *img, struct qcow2_snapshot_table *t, struct err *e);
/* The same from a table that is damaged: extra data that is too long is passed
 * by, an entry that the end of the file cuts goes on with zeroes, and those
 * past it, or too many for a table, are left out. */
int qcow2_snapshots_salvage(
    struct image *img, struct qcow2_snapshot_table *t, struct err *e);
void qcow2_snapshots_clear(struct qcow2_snapshot_table *t);
/* May the L1 table of a snapshot be read, for a disk of `size` bytes? */
int qcow2_snapshot_l1_check(struct image *img, const struct qcow2_snapshot *s,
    uint64_t size, struct err *e);
extern const struct snapshot_ops qcow2_snapshots;
/* Point the image at an internal snapshot (read-only). */
int qcow2_snapshot_select(struct image *img, const char *which, struct err *e);

int qcow2_snapshot_list(
    struct image *img, struct img_snapshot **out, size_t *n, struct err *e);
/* By `snapshot.id=I,snapshot.name=N`, else an ID, else a name. */
const struct qcow2_snapshot *qcow2_snapshot_find(
    const struct qcow2_snapshot_table *t, const char *which, struct err *e);

/* snapshot_write.c: the gate is closed */
/* Its L1 table as in the file; free() it. */
uint8_t *qcow2_snapshot_l1(
    struct image *img, const struct qcow2_snapshot *s, struct err *e);
/* Every entry of the table has what version 3 asks for. */
int qcow2_snapshots_complete(struct image *img, struct err *e);

/* tree.c: the gate is closed */
/* Of a table piece whose first entry is that of `guest`, of an L2 table.  Both
 * are called under meta exclusive. */
typedef int qcow2_slice_fn(struct image *img, struct table *slice,
    uint64_t guest, void *arg, struct err *e);
typedef int qcow2_l2_fn(struct image *img, uint64_t l2_host, uint64_t guest,
    void *arg, struct err *e);
int qcow2_l2_each(struct image *img, uint64_t l2_host, uint64_t guest,
    qcow2_slice_fn *fn, void *arg, struct err *e);
/* For each L2 table of an L1 table (as in the file), with commits between. */
int qcow2_tree_each(struct image *img, const uint8_t *l1, uint32_t l1_n,
    qcow2_l2_fn *fn, void *arg, struct err *e);
/*
 * Everything that an L1 table (as in the file) refers to, its L2 tables too,
 * gains (1) or loses (-1) an owner; 0: could it gain one?
 */
int qcow2_tree_count(struct image *img, const uint8_t *l1, uint32_t l1_n,
    int delta, struct err *e);
/* The active L1 table as in the file; free() it. */
uint8_t *qcow2_l1_copy(const struct qcow2 *q, struct err *e);

/* counts_move.c: the gate is closed */
struct qcow2_block {
	uint64_t ix, host; /* in the refcount table, in the file */
};
/* Refcount blocks and table that the next header does not name any more. */
struct qcow2_counts {
	struct qcow2_block *block;
	size_t block_n;
	uint64_t table_host;
	uint32_t table_cl;
};
/* Clusters that are taken already. */
struct qcow2_spare {
	uint64_t host, n;
};
/*
 * From here on changes of counts come into force with the next header; nothing
 * but *spare may be taken until then.  Everything is committed.  Clear *m in
 * any case.
 */
int qcow2_counts_move(struct image *img, uint64_t spare_n,
    struct qcow2_counts *m, struct qcow2_spare *spare, struct err *e);
/* What is left of it. */
int qcow2_spare_give(
    struct image *img, const struct qcow2_spare *spare, struct err *e);
/* The header is written: the old ones' space is given back. */
int qcow2_counts_moved(
    struct image *img, const struct qcow2_counts *m, struct err *e);
void qcow2_counts_clear(struct qcow2_counts *m);

/* copied.c: the gate is closed */
/*
 * The copied flags below an L1 table, that is to be active and has just gained
 * or lost owners, become what the counts say.  Tables that change are copied to
 * *spare, one cluster each.  `owners`: trees that have this L1 table, 1 or 2.
 */
int qcow2_tree_fit(struct image *img, uint8_t *l1, uint32_t l1_n,
    unsigned owners, struct qcow2_spare *spare, struct err *e);
/* A tree that is not active, and will have a second owner, has none. */
int qcow2_tree_clear_copied(
    struct image *img, uint8_t *l1, uint32_t l1_n, struct err *e);

/* space.c: the gate is closed */
/* Contiguous clusters for `len` > 0 bytes, counted, in the set of metadata. */
int qcow2_space_take(
    struct image *img, uint64_t len, uint64_t *host, struct err *e);
/* New space with these bytes and zeroes to the end of its last cluster; a
 * structure that the header will name.  *host: 0 when len is. */
int qcow2_space_write(struct image *img, const uint8_t *buf, uint64_t len,
    uint64_t *host, struct err *e);
/* The same in space that was taken. */
int qcow2_space_put(struct image *img, const uint8_t *buf, uint64_t len,
    uint64_t host, struct err *e);
/* The structure at `host` is not named any more. */
int qcow2_space_give(
    struct image *img, uint64_t host, uint64_t len, struct err *e);
/* What the header in memory names becomes durable, then the header. */
int qcow2_header_switch(struct image *img, struct err *e);

/* l1_switch.c: the gate is closed */
/* A tree that is or will be the active one. */
struct qcow2_l1_state {
	uint8_t *entries; /* as in the file; free() it */
	uint64_t host;
	uint32_t n;
	uint64_t size; /* guest bytes */
};
/* The one now.  `entries` is NULL on failure. */
struct qcow2_l1_state qcow2_l1_active(struct image *img, struct err *e);
/*
 * Write the header, which is changed already but for its L1 table: that is the
 * one at `host` from now on.  On failure the one in memory is the old one.
 */
int qcow2_l1_use(struct image *img, uint64_t host, uint32_t n, struct err *e);
/* From `old`, the one now, to `new`, whose host is set here.  On failure the
 * image is to be FAILED. */
int qcow2_l1_switch(struct image *img, const struct qcow2_l1_state *old,
    struct qcow2_l1_state *new, struct err *e);

/* backing.c */
int qcow2_set_backing(struct image *img, const char *name, const char *format,
    bool trial, struct err *e);

/* amend.c */
extern const struct amend_ops qcow2_amend;
extern const struct img_opt qcow2_amend_opts[];

/* empty.c */
int qcow2_make_empty(struct image *img, struct err *e);

/* bitmap.c */
#define QCOW2_BITMAP_IN_USE   0x1u
#define QCOW2_BITMAP_AUTO     0x2u
#define QCOW2_BITMAP_EXTRA    0x4u /* usable without knowing its extra data */
#define QCOW2_BITMAP_FLAGS    0x7u /* all that are known */
#define QCOW2_BITMAP_NAME_MAX 1023u
struct qcow2_bitmap {
	uint64_t at;	     /* host offset of the directory entry */
	uint64_t table_host; /* the table is inside the file */
	uint32_t table_n;
	uint32_t flags;
	unsigned granularity_bits;
	uint32_t extra_len; /* bytes between the entry's fixed part and name */
	char *name;
};
struct qcow2_bitmap_list {
	struct qcow2_bitmap *item;
	size_t n;
};
int qcow2_bitmaps_read(
    struct image *img, struct qcow2_bitmap_list *list, struct err *e);
void qcow2_bitmaps_clear(struct qcow2_bitmap_list *list);

/* bitmap_table.c */
/* The entries of a bitmap table, checked: 0, 1 (all dirty) or a cluster of the
 * file.  free() it. */
uint64_t *qcow2_bitmap_table(
    struct image *img, uint64_t host, uint32_t n, struct err *e);
/* The bits of a table of n entries, added to `bits`. */
int qcow2_bitmap_read(struct image *img, uint64_t host, uint32_t n,
    struct dirtymap *bits, struct err *e);
/* Bits and table go to new space. */
int qcow2_bitmap_write(struct image *img, const struct dirtymap *bits,
    uint64_t *host, uint32_t *n, struct err *e);

/* bitmap_ops.c */
extern const struct bitmap_ops qcow2_bitmap_ops;

/* describe.c */
int qcow2_describe(struct image *img, struct img_info *out, struct err *e);

/* create.c, resize.c, check.c, measure.c */
extern const struct img_opt qcow2_create_opts[];
int qcow2_create(const struct create_args *a, struct err *e);
int qcow2_create_check(const struct create_args *a, struct err *e);
int qcow2_resize(struct image *img, uint64_t size, enum img_prealloc prealloc,
    struct err *e);
int qcow2_walk(struct image *img, struct walker *w, struct err *e);
int qcow2_check(struct image *img, struct img_check *out,
    void (*report)(void *, const char *), void *arg, struct err *e);
/* repair.c */
int qcow2_repair(struct image *img, enum img_repair what, struct img_check *out,
    void (*report)(void *, const char *), void *arg, struct err *e);
int qcow2_measure(struct options *o, uint64_t size, struct image *src,
    struct img_measure *out, struct err *e);

#endif
