/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Checking a qcow2 image: see check.h.  Here: the structures that the header
 * points to, down to the entries of the L1 tables.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#include "../core/request.h"
#include "check.h"

#define PIECE_N	 (128u * 1024) /* entries read at once: 1 MiB */
#define CL_N_MAX INT32_MAX
#define ODD_MAX	 64u

/* ---- findings ------------------------------------------------------------ */

static void report_va(struct check *c, const char *fmt, va_list ap)
{
	char line[512];

	if (!c->report)
		return;
	vsnprintf(line, sizeof line, fmt, ap);
	c->report(c->arg, line);
}

void check_report(struct check *c, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	report_va(c, fmt, ap);
	va_end(ap);
}

void check_corrupt(struct check *c, uint64_t times, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	report_va(c, fmt, ap);
	va_end(ap);
	c->out->corruptions += times;
}

/* ---- reading and counting ------------------------------------------------ */

int check_count(
    struct check *c, uint64_t host, uint64_t len, uint64_t times, struct err *e)
{
	unsigned bits = c->q->h.cluster_bits;
	uint64_t end, last;

	if (!len || !times)
		return 0;
	/* The last cluster of a file may be cut, so less than one is fine. */
	if (!add_ok(host, len, &end) ||
	    (end > c->count_len && end - c->count_len >= c->q->cluster_len)) {
		check_corrupt(c, times,
		    "ERROR: counting reference for region exceeding the end of "
		    "the file by one cluster or more: offset 0x%" PRIx64
		    " size 0x%" PRIx64,
		    host, len);
		return 0;
	}
	last = (end - 1) >> bits;
	c->cl_n = max_u64(c->cl_n, last + 1);
	for (uint64_t cl = host >> bits; cl <= last; cl++)
		if (refmap_add(&c->refs, cl, times, e))
			return -1;
	return 0;
}

int check_read(
    struct check *c, void *buf, uint64_t len, uint64_t host, struct err *e)
{
	uint64_t there =
	    host < c->file_len ? min_u64(len, c->file_len - host) : 0;

	memset((uint8_t *)buf + there, 0, len - there);
	return there ? host_pread(c->img->file, buf, there, host, e) : 0;
}

int check_put(struct check *c, uint64_t host, uint64_t entry, struct err *e)
{
	uint8_t buf[8];

	put_be64(buf, entry);
	return host_pwrite(c->img->file, buf, sizeof buf, host, e);
}

static int entries_in(struct check *c, const uint8_t *p, uint64_t n,
    uint64_t ix, uint64_t times, check_entry_fn *fn, struct err *e)
{
	for (uint64_t i = 0; i < n; i++) {
		uint64_t entry = be64(p + i * 8);

		if (entry && fn(c, ix + i, entry, times, e))
			return -1;
	}
	return 0;
}

int check_entries(struct check *c, uint64_t host, uint64_t n, uint64_t times,
    check_entry_fn *fn, struct err *e)
{
	CLEANUP_FREE uint8_t *buf = malloc(PIECE_N * 8);

	if (!buf)
		return err_nomem(e);
	c->entries_host = host;
	for (uint64_t ix = 0; ix < n; ix += PIECE_N) {
		uint64_t now = min_u64(n - ix, PIECE_N), at = host + ix * 8;

		if (at >= c->file_len) /* zeroes from here on */
			return 0;
		if (check_read(c, buf, now * 8, at, e) ||
		    entries_in(c, buf, now, ix, times, fn, e))
			return -1;
	}
	return 0;
}

/* ---- L1 tables ----------------------------------------------------------- */

/*
 * The L2 table is looked at later, once for all that point to it.  Of what
 * cannot be a table only the first few are: they may overlap.
 */
static int l1_entry(
    struct check *c, uint64_t entry, uint64_t times, bool active, struct err *e)
{
	uint64_t host = entry & QCOW2_HOST_MASK;

	if (entry & QCOW2_L1_RESERVED)
		check_corrupt(c, times,
		    "ERROR found L1 entry with reserved bits set: %" PRIx64,
		    entry);
	if (!is_aligned(host, c->q->cluster_len))
		check_corrupt(c, times,
		    "ERROR l2_offset=%" PRIx64
		    ": Table is not cluster aligned; L1 entry corrupted",
		    host);
	if ((!host || !is_aligned(host, c->q->cluster_len)) &&
	    c->odd_n++ >= ODD_MAX)
		return check_count(c, host, c->q->cluster_len, times, e);
	if (refmap_add(&c->l2_all, host / CHECK_L2_UNIT, times, e))
		return -1;
	return active
		   ? refmap_add(&c->l2_active, host / CHECK_L2_UNIT, times, e)
		   : 0;
}

static int active_entry(
    struct check *c, uint64_t ix, uint64_t entry, uint64_t times, struct err *e)
{
	(void)ix;
	return l1_entry(c, entry, times, true, e);
}

static int saved_entry(
    struct check *c, uint64_t ix, uint64_t entry, uint64_t times, struct err *e)
{
	(void)ix;
	return l1_entry(c, entry, times, false, e);
}

static int active_l1(struct check *c, struct err *e)
{
	const struct qcow2_header *h = &c->q->h;

	if (check_count(c, h->l1_host, h->l1_n * 8ull, 1, e))
		return -1;
	return check_entries(c, h->l1_host, h->l1_n, 1, active_entry, e);
}

/* ---- snapshots ----------------------------------------------------------- */

static int saved_entries(
    void *arg, uint64_t start, uint64_t end, uint64_t times, struct err *e)
{
	return check_entries(
	    arg, start, (end - start) / 8, times, saved_entry, e);
}

static int saved_clusters(
    void *arg, uint64_t start, uint64_t end, uint64_t times, struct err *e)
{
	return check_count(arg, start, end - start, times, e);
}

/* One snapshot: its L1 table, if it can be one, goes to the spans. */
static int add_snapshot(struct check *c, const struct qcow2_snapshot *s,
    struct spans *entries, struct spans *clusters, struct err *e)
{
	uint64_t len = s->l1_n * 8ull, end = s->l1_host + len, whole;

	if (!is_aligned(s->l1_host, c->q->cluster_len) ||
	    s->l1_host > INT64_MAX) {
		check_corrupt(c, 1,
		    "ERROR snapshot %s (%s) l1_offset=%#" PRIx64
		    ": L1 table is not cluster aligned; snapshot table entry "
		    "corrupted",
		    s->vm.id, s->vm.name, s->l1_host);
		return 0;
	}
	if (len > QCOW2_L1_LEN_MAX) {
		check_corrupt(c, 1,
		    "ERROR snapshot %s (%s) l1_size=%#" PRIx32
		    ": L1 table is too large; snapshot table entry corrupted",
		    s->vm.id, s->vm.name, s->l1_n);
		return 0;
	}
	if (spans_add(entries, s->l1_host, end, e))
		return -1;
	/* Past the end of the file: a finding of its own. */
	if (end > c->file_len && end - c->file_len >= c->q->cluster_len)
		return check_count(c, s->l1_host, len, 1, e);
	/* Whole clusters, where the file may have them. */
	whole = round_up(end, c->q->cluster_len);
	if (whole < c->file_len + c->q->cluster_len)
		end = whole;
	return spans_add(clusters, s->l1_host, end, e);
}

/* What can be put right by writing the entry anew. */
static void look_at_entry(
    struct check *c, const struct qcow2_snapshot *s, size_t i)
{
	bool short_extra = c->q->h.version >= 3 && s->extra_len < 16;

	if (short_extra)
		check_corrupt(
		    c, 1, "ERROR snapshot table entry %zu is incomplete", i);
	if (s->extra_len > QCOW2_SNAPSHOT_EXTRA_MAX)
		check_corrupt(c, 1,
		    "ERROR snapshot table entry %zu has too much extra data: "
		    "%" PRIu32 " bytes, must be at most %u",
		    i, s->extra_len, QCOW2_SNAPSHOT_EXTRA_MAX);
	if (short_extra || s->extra_len > QCOW2_SNAPSHOT_EXTRA_MAX)
		c->snapshots_bad = true;
}

static int each_snapshot(
    struct check *c, const struct qcow2_snapshot_table *t, struct err *e)
{
	struct spans entries = {0}, clusters = {0};
	int rc = 0;

	for (size_t i = 0; i < t->n && !rc; i++) {
		const struct qcow2_snapshot *s = &t->item[i];

		look_at_entry(c, s, i);
		rc = add_snapshot(c, s, &entries, &clusters, e);
	}
	if (!rc)
		rc = spans_walk(&clusters, saved_clusters, c, e);
	if (!rc)
		rc = spans_walk(&entries, saved_entries, c, e);
	spans_destroy(&entries);
	spans_destroy(&clusters);
	return rc;
}

/* The entries that could be read, and those that could not. */
static void look_at_table(struct check *c, const struct qcow2_snapshot_table *t)
{
	const struct qcow2_snapshot *last = t->n ? &t->item[t->n - 1] : NULL;
	uint64_t more = c->q->h.snapshot_n - t->n;

	if (more) {
		check_corrupt(c, more,
		    "ERROR the snapshot table has no room for %" PRIu64
		    " of its entries",
		    more);
		c->snapshots_bad = true;
	}
	if (last &&
	    c->q->h.snapshot_host + last->at + last->len > c->file_len) {
		check_corrupt(
		    c, 1, "ERROR the snapshot table exceeds the file");
		c->snapshots_bad = true;
	}
}

/* Without the snapshots nothing can be said about the counts: stop then. */
static int snapshots(struct check *c, struct err *e)
{
	struct qcow2_snapshot_table t;
	int rc = c->salvage ? qcow2_snapshots_salvage(c->img, &t, e)
			    : qcow2_snapshots_read(c->img, &t, e);

	if (rc) {
		err_prefix(e, "failed to read the snapshot table: ");
		return -1;
	}
	look_at_table(c, &t);
	if (!c->new_snapshots)
		rc = check_count(c, c->q->h.snapshot_host, t.len, 1, e);
	if (!rc)
		rc = each_snapshot(c, &t, e);
	qcow2_snapshots_clear(&t);
	return rc;
}

/* ---- the whole ----------------------------------------------------------- */

static uint64_t reftable_len(const struct check *c)
{
	return (uint64_t)c->q->h.reftable_cl << c->q->h.cluster_bits;
}

int check_load_reftable(struct check *c, struct err *e)
{
	uint64_t len = reftable_len(c);

	c->reftable_n = len / 8;
	c->reftable = malloc(len + 1);
	if (!c->reftable)
		return err_nomem(e);
	return check_read(c, c->reftable, len, c->q->h.reftable_host, e);
}

/* What is counted so far belongs to structures that nothing may touch. */
static int keep_structures(struct check *c, struct err *e)
{
	CLEANUP_FREE uint64_t *keys = refmap_keys(&c->refs, e);

	for (size_t i = 0; keys && i < c->refs.n; i++) {
		for (unsigned j = 0; j < REFMAP_PAGE_N; j++) {
			uint64_t cl = keys[i] * REFMAP_PAGE_N + j;
			uint64_t n = refmap_get(&c->refs, cl);

			if (n && refmap_set(&c->structures, cl, n, e))
				return -1;
		}
	}
	return keys ? 0 : -1;
}

int check_mapping(struct check *c, struct err *e)
{
	const struct qcow2_header *h = &c->q->h;

	if (check_count(c, 0, c->q->cluster_len, 1, e) ||
	    (h->crypt.len &&
		check_count(c, h->crypt.host, h->crypt.len, 1, e)) ||
	    active_l1(c, e) || snapshots(c, e) || check_bitmaps(c, e) ||
	    (c->repair && keep_structures(c, e)))
		return -1;
	return check_l2_tables(c, e);
}

int check_references(struct check *c, struct err *e)
{
	if (check_mapping(c, e) || check_load_reftable(c, e) ||
	    check_count(c, c->q->h.reftable_host, reftable_len(c), 1, e))
		return -1;
	return check_refblocks(c, e);
}

int check_run(struct check *c, struct err *e)
{
	if (check_references(c, e) || check_compare(c, e))
		return -1;
	c->out->image_end = c->end_cl << c->q->h.cluster_bits;
	/* Flags follow from the counts, which a repair changes first. */
	if (c->repair &&
	    (c->out->corruptions || c->out->leaks || c->out->check_errors))
		return 0;
	return check_copied(c, e);
}

int check_settle(struct image *img, struct err *e)
{
	int rc;

	if (!image_writable(img) || (img->flags & IMG_O_CHECK))
		return 0;
	if (image_commit(img, e))
		return -1;
	rwlock_excl(&img->meta);
	rc = tables_write_counts(img->tables, e);
	rwlock_excl_end(&img->meta);
	return rc;
}

int check_begin(struct check *c, struct image *img, struct img_check *out,
    void (*report)(void *, const char *), void *arg, struct err *e)
{
	*c = (struct check){.img = img,
	    .q = qcow2_of(img),
	    .end_cl = 1,
	    .out = out,
	    .report = report,
	    .arg = arg};
	if (check_settle(img, e))
		return -1;
	c->file_len = c->count_len = host_size(img->file);
	c->cl_n = div_up(c->file_len, c->q->cluster_len);
	out->total = div_up(img_size(img), c->q->cluster_len);
	if (c->cl_n > CL_N_MAX)
		return err_set(e, ERR_UNSUPPORTED, EFBIG,
		    "%s: the file has %" PRIu64
		    " clusters: at most %d can be checked",
		    img->name, c->cl_n, CL_N_MAX);
	return 0;
}

void check_end(struct check *c)
{
	refmap_destroy(&c->refs);
	refmap_destroy(&c->l2_all);
	refmap_destroy(&c->l2_active);
	refmap_destroy(&c->structures);
	free(c->reftable);
	c->reftable = NULL;
}

int qcow2_check(struct image *img, struct img_check *out,
    void (*report)(void *, const char *), void *arg, struct err *e)
{
	struct check c;
	int rc = check_begin(&c, img, out, report, arg, e);

	if (!rc)
		rc = check_run(&c, e);
	check_end(&c);
	return rc;
}
