/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Checking and repairing a VHDX image.
 *
 * Every structure and block claims its space; what claims space that has an
 * owner, or that the file does not have, is a corruption, and so is a BAT entry
 * that means nothing.  A repair changes entries through the log:
 *   means nothing              it says zeroes: what it meant cannot be known
 *   space with another owner   the block gets a copy of its own
 *   partly here, no parent     it is all here
 * Nothing is counted in this format, so nothing leaks.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "../core/duplicate.h"
#include "../core/request.h"
#include "vhdx.h"

struct check {
	struct image *img;
	struct vhdx *q;
	struct img_check *out;
	void (*report)(void *arg, const char *line); /* may be NULL */
	void *arg;
	bool fix;
	struct space space, *s; /* what is claimed so far: its own, or q's */
	uint64_t fixed_n;
};

static void corrupt(struct check *c, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

static void corrupt(struct check *c, const char *fmt, ...)
{
	char line[512];
	va_list ap;
	int n;

	c->out->corruptions++;
	if (!c->report)
		return;
	n = snprintf(line, sizeof line, c->fix ? "Repairing: " : "ERROR: ");
	va_start(ap, fmt);
	vsnprintf(line + n, sizeof line - (size_t)n, fmt, ap);
	va_end(ap);
	c->report(c->arg, line);
}

static int put_entry(
    struct check *c, uint64_t ix, uint64_t entry, struct err *e)
{
	c->fixed_n++;
	return vhdx_bat_set(c->img, ix, entry, e);
}

/* ---- space ----------------------------------------------------------------
 */

/* Does a claim meet another owner? */
static int claim(struct check *c, const char *what, uint64_t host, uint64_t len,
    bool *twice, struct err *e)
{
	int rc = space_claim(c->s, host, len, e);

	*twice = rc > 0;
	if (rc > 0)
		corrupt(c, "the space of %s at %#llx has another owner", what,
		    (unsigned long long)host);
	return rc < 0 ? -1 : 0;
}

/* The file may have been cut. */
static int need_file(struct check *c, const char *what, uint64_t host,
    uint64_t len, struct err *e)
{
	uint64_t size = host_size(c->q->file);

	if (range_ok(host, len, size))
		return 0;
	corrupt(c, "%s at %#llx ends behind the file of %llu bytes", what,
	    (unsigned long long)host, (unsigned long long)size);
	if (!c->fix)
		return 0;
	c->fixed_n++;
	return host_grow(c->img->file, host + len, e);
}

static int claim_region(void *arg, const struct vhdx_region *r, struct err *e)
{
	struct check *c = arg;
	bool twice;

	return claim(c, "a region", r->host, r->len, &twice, e) ||
		       need_file(c, "a region", r->host, r->len, e)
		   ? -1
		   : 0;
}

static int structures(struct check *c, struct err *e)
{
	const struct vhdx_header *h = &c->q->h;
	struct vhdx_region bat, meta;
	bool twice;

	return claim(c, "the headers", 0, VHDX_UNIT, &twice, e) ||
		       claim(
			   c, "the log", h->log_host, h->log_len, &twice, e) ||
		       need_file(c, "the log", h->log_host, h->log_len, e) ||
		       vhdx_regions_read(
			   c->q->file, &bat, &meta, claim_region, c, e)
		   ? -1
		   : 0;
}

/* ---- blocks -----------------------------------------------------------------
 */

/* The block gets space of its own. */
static int move_block(
    struct check *c, uint64_t ix, uint64_t entry, uint64_t len, struct err *e)
{
	uint64_t host;

	if (vhdx_space_take(c->img, len, &host, e) ||
	    duplicate(c->img->file, vhdx_host(entry), host, len, e))
		return -1;
	return put_entry(c, ix, host | vhdx_state(entry), e);
}

/* What a faulty entry becomes. */
static uint64_t mended(const struct check *c, uint64_t entry, bool bitmap)
{
	uint64_t full = vhdx_host(entry) | VHDX_FULL;

	if (vhdx_state(entry) == VHDX_PART && !c->q->m.has_parent &&
	    !vhdx_entry_fault(c->q, full, false))
		return full;
	return bitmap ? VHDX_NOT_PRESENT : VHDX_ZERO;
}

/* How much of a block the file must have: the last one ends with the disk. */
static uint64_t needed_len(const struct check *c, uint64_t ix, bool bitmap)
{
	uint64_t len = c->q->m.block_len, size = img_size(c->img);
	uint64_t guest = (ix - ix / (c->q->chunk_n + 1)) * len;

	if (bitmap)
		return VHDX_UNIT;
	return guest < size ? min_u64(len, size - guest) : len;
}

static int one_entry(
    struct check *c, uint64_t ix, bool bitmap, uint64_t *entry, struct err *e)
{
	uint64_t len = bitmap ? VHDX_UNIT : c->q->m.block_len;
	const char *fault;
	bool twice;

	if (vhdx_bat_get(c->img, ix, entry, e))
		return -1;
	fault = vhdx_entry_fault(c->q, *entry, bitmap);
	if (fault) {
		corrupt(c, "BAT entry %llu (%#llx) %s", (unsigned long long)ix,
		    (unsigned long long)*entry, fault);
		*entry = mended(c, *entry, bitmap);
		if (c->fix && put_entry(c, ix, *entry, e))
			return -1;
		if (!c->fix)
			return 0;
	}
	if (!vhdx_has_space(*entry))
		return 0;
	if (claim(c, bitmap ? "a sector bitmap" : "a block", vhdx_host(*entry),
		len, &twice, e) ||
	    need_file(c, bitmap ? "a sector bitmap" : "a block",
		vhdx_host(*entry), needed_len(c, ix, bitmap), e))
		return -1;
	return twice && c->fix ? move_block(c, ix, *entry, len, e) : 0;
}

/* A block that is partly here needs its bitmap. */
static int need_bitmap(struct check *c, uint64_t block_ix, uint64_t entry,
    uint64_t bitmap, struct err *e)
{
	uint64_t ix = vhdx_bat_ix(c->q, block_ix);

	if (vhdx_state(entry) != VHDX_PART || vhdx_has_space(bitmap))
		return 0;
	corrupt(c, "BAT entry %llu (%#llx) is partly present without a bitmap",
	    (unsigned long long)ix, (unsigned long long)entry);
	return c->fix ? put_entry(c, ix, vhdx_host(entry) | VHDX_FULL, e) : 0;
}

static int blocks(struct check *c, struct err *e)
{
	uint64_t block_n = vhdx_block_n(c->q), bitmap = 0, entry;

	image_work_begin(c->img, block_n);
	for (uint64_t i = 0; i < block_n; i++) {
		if (i % c->q->chunk_n == 0 && c->q->m.has_parent &&
		    one_entry(c, vhdx_bitmap_ix(c->q, i), true, &bitmap, e))
			return -1;
		if (one_entry(c, vhdx_bat_ix(c->q, i), false, &entry, e))
			return -1;
		if (c->q->m.has_parent && need_bitmap(c, i, entry, bitmap, e))
			return -1;
		if (image_work(c->img, 1, e))
			return -1;
	}
	return 0;
}

/* ---- copies of the region table --------------------------------------------
 */

static int regions(struct check *c, struct err *e)
{
	CLEANUP_FREE uint8_t *table = malloc(2 * VHDX_TABLE_LEN);

	if (!table)
		return err_nomem(e);
	if (host_pread(
		c->q->file, table, 2 * VHDX_TABLE_LEN, VHDX_REGION_HOST, e))
		return -1;
	for (unsigned i = 0; i < 2; i++) {
		const char *fault =
		    vhdx_regions_fault(table + i * VHDX_TABLE_LEN);

		if (!fault)
			continue;
		corrupt(c, "copy %u of the region table %s", i + 1, fault);
		if (!c->fix)
			continue;
		c->fixed_n++;
		if (host_pwrite(c->img->file, table + (1 - i) * VHDX_TABLE_LEN,
			VHDX_TABLE_LEN, VHDX_REGION_HOST + i * VHDX_TABLE_LEN,
			e))
			return -1;
	}
	return 0;
}

/* ---- check, repair ---------------------------------------------------- */

static int run(struct check *c, struct err *e)
{
	uint64_t end = host_size(c->q->file);

	if (end > VHDX_FILE_MAX)
		return err_unsupported(e,
		    "%s: a file of %llu bytes is too large to be checked",
		    c->img->name, (unsigned long long)end);
	space_destroy(c->s);
	space_init(c->s, 0, VHDX_UNIT, end, VHDX_FILE_MAX);
	return space_scan_begin(c->s, e) || structures(c, e) || regions(c, e) ||
		       blocks(c, e)
		   ? -1
		   : 0;
}

int vhdx_check(struct image *img, struct img_check *out,
    void (*report)(void *, const char *), void *arg, struct err *e)
{
	struct check c = {.img = img,
	    .q = vhdx_of(img),
	    .out = out,
	    .report = report,
	    .arg = arg};
	int rc;

	c.s = &c.space;
	rwlock_excl(&img->meta);
	rc = run(&c, e);
	rwlock_excl_end(&img->meta);
	space_destroy(c.s);
	return rc;
}

/* Blocks move only when all that has space is known. */
static int fix_all(struct check *c, struct err *e)
{
	int rc;

	rwlock_excl(&c->img->meta);
	rc = run(c, e);
	rwlock_excl_end(&c->img->meta);
	if (!rc && c->out->corruptions) {
		*c->out = (struct img_check){0};
		c->fix = true;
		rwlock_excl(&c->img->meta);
		space_scan_end(&c->q->space);
		c->s = &c->space;
		rc = run(c, e);
		rwlock_excl_end(&c->img->meta);
		space_destroy(c->s);
	}
	return rc || image_commit(c->img, e) ? -1 : 0;
}

int vhdx_repair(struct image *img, enum img_repair what, struct img_check *out,
    void (*report)(void *, const char *), void *arg, struct err *e)
{
	struct check c = {.img = img,
	    .q = vhdx_of(img),
	    .out = out,
	    .report = report,
	    .arg = arg};

	if (what == IMG_REPAIR_LEAKS)
		return vhdx_check(img, out, report, arg, e);
	c.s = &c.q->space;
	if (fix_all(&c, e))
		return image_fail(img, e);
	*out = (struct img_check){0};
	if (vhdx_check(img, out, NULL, NULL, e))
		return -1;
	/* A log that had to be replayed is one, as for QEMU. */
	out->corruptions_fixed = c.fixed_n + c.q->replayed;
	return 0;
}
