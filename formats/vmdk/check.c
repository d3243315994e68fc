/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Check and repair.
 *
 * Of extents with tables in place: every entry points to a grain inside the
 * file, that is of no other entry and no metadata; the redundant tables say the
 * same as those that are read.  A grain that no entry points to, and that holds
 * more than zeroes, is a leak; so is a redundant table that differs, which no
 * reader sees.  Others are read through (core/readcheck.h).
 *
 * A repair writes single entries in place: the one that is read gets what the
 * redundant one says where that is right, else a copy of a grain that has
 * another owner, else nothing; then the redundant
 * table becomes equal.  Each step alone leaves nothing worse than it was. While
 * it is not known what all tables said, no grain is given up (check_leaks.c).
 *
 * The gate is closed, and the image was opened with IMG_O_CHECK.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "../core/duplicate.h"
#include "check.h"

void check_report_leak(struct check *c, const char *what, uint64_t number)
{
	char line[2200];

	c->r.out->leaks++;
	snprintf(line, sizeof line, "%s: %s %llu", c->x->file->name, what,
	    (unsigned long long)number);
	if (c->r.report && !c->r.errors_only)
		c->r.report(c->r.arg, line);
}

/* ---- metadata --------------------------------------------------------- */

int check_claim(struct check *c, const char *what, uint64_t host, uint64_t len,
    struct err *e)
{
	uint64_t sector = host / SECTOR_LEN, n = div_up(len, SECTOR_LEN);

	if (clusterset_any(&c->meta, sector, n))
		readcheck_report(&c->r, "ERROR: %s: %s at %llu overlaps others",
		    c->x->file->name, what, (unsigned long long)host);
	return clusterset_add(&c->meta, sector, n, e);
}

static int claim_tables(struct check *c, uint64_t gd_host, struct err *e)
{
	struct vmdk_extent *x = c->x;

	if (check_claim(c, "grain directory", gd_host, x->gd_n * 4, e))
		return -1;
	for (uint64_t i = 0; i < x->gd_n; i++) {
		struct err one = ERR_INIT;
		uint64_t host;

		/* What cannot be found has no place: see check_table(). */
		if (!vmdk_gde(x, gd_host, i, &host, &one) && host &&
		    check_claim(c, "grain table", host, x->gt_len, e))
			return -1;
	}
	return 0;
}

/* ---- entries ---------------------------------------------------------- */

/* The first of the grains, all `lag` off, that one at `host` lies over, and how
 * many: one that is as much off, or two. */
static uint64_t grain_of(const struct check *c, uint64_t host, uint64_t *n)
{
	uint64_t len = c->x->grain_len;

	*n = host % len == c->lag ? 1 : 2;
	return host < c->lag ? 0 : (host - c->lag) / len;
}

/* Is the grain at `host` nobody's so far? */
static bool is_free(struct check *c, uint64_t host)
{
	const struct vmdk_extent *x = c->x;
	uint64_t n, ix = grain_of(c, host, &n);

	if (clusterset_any(
		&c->meta, host / SECTOR_LEN, x->grain_len / SECTOR_LEN) ||
	    clusterset_any(&c->used, ix, n))
		return false;
	return n == 2 || !clusterset_any(&c->odd, ix, n);
}

int check_use(struct check *c, uint64_t host, struct err *e)
{
	uint64_t n, ix;

	if (!c->any) {
		c->any = true;
		c->lag = host % c->x->grain_len;
	}
	ix = grain_of(c, host, &n);
	return clusterset_add(n == 1 ? &c->used : &c->odd, ix, n, e);
}

bool check_is_right(struct check *c, const uint8_t *gt, uint32_t ix)
{
	uint64_t host;

	switch (vmdk_gte_get(c->x, gt, ix, vmdk_end(c->x), &host)) {
	case VMDK_GTE_HOLE:
	case VMDK_GTE_ZEROES:
		return true;
	case VMDK_GTE_DATA:
		return is_free(c, host);
	case VMDK_GTE_BAD:
		break;
	}
	return false;
}

/* Another grain at the end of the file, with what the one at `host` has. */
static int give_copy(
    const struct check *c, uint64_t host, uint64_t *to, struct err *e)
{
	struct hostfile *f = c->x->file;
	uint64_t len = c->x->grain_len, end = host_size(f);

	*to = round_up(end - c->lag, len) + c->lag;
	if (*to + len > VMDK_HOST_MAX)
		return err_set(e, ERR_SYSTEM, ENOSPC,
		    "%s: a sparse extent takes at most 2 TiB", f->name);
	return host_grow(f, *to + len, e) ||
		       duplicate(f, host, *to, min_u64(len, end - host), e) ||
		       vmdk_raise_free_end(c->x, *to + len, e) ||
		       host_sync(f, e)
		   ? -1
		   : 0;
}

/* Is it a grain of this or that entry, nobody can tell? */
static bool is_shared(struct check *c, uint32_t ix, uint64_t *host)
{
	const struct vmdk_extent *x = c->x;

	return vmdk_gte_get(x, c->gt, ix, vmdk_end(x), host) == VMDK_GTE_DATA &&
	       !clusterset_any(
		   &c->meta, *host / SECTOR_LEN, x->grain_len / SECTOR_LEN);
}

static int fix_entry(
    struct check *c, uint64_t gt_host, uint32_t ix, struct err *e)
{
	uint8_t *p = c->gt + 4 * (size_t)ix;
	uint64_t host, to;
	uint32_t entry = 0;

	if (c->copy && check_is_right(c, c->copy, ix)) {
		entry = le32(c->copy + 4 * (size_t)ix);
	} else if (is_shared(c, ix, &host)) {
		if (give_copy(c, host, &to, e))
			return -1;
		entry = (uint32_t)(to / SECTOR_LEN);
	}
	put_le32(p, entry);
	c->corruptions_fixed++;
	return host_pwrite(c->x->file, p, 4, gt_host + 4 * (uint64_t)ix, e);
}

static int check_entry(
    struct check *c, uint64_t gt_host, uint64_t grain_ix, struct err *e)
{
	uint32_t ix = grain_ix % c->x->gt_n;
	uint64_t host;

	if (!check_is_right(c, c->gt, ix)) {
		struct err one = ERR_INIT;

		vmdk_bad_entry(c->x, grain_ix,
		    "points past the end of the file, or to what is another's",
		    &one);
		readcheck_found(&c->r, &one);
		if (!c->all)
			return 0;
		if (fix_entry(c, gt_host, ix, e))
			return -1;
	}
	return vmdk_gte_get(c->x, c->gt, ix, vmdk_end(c->x), &host) ==
		       VMDK_GTE_DATA
		   ? check_use(c, host, e)
		   : 0;
}

/* ---- tables ----------------------------------------------------------- */

/* Host byte of a table of a directory; 0: there is none, or no way to it. */
static uint64_t find_table(
    struct check *c, uint64_t gd_host, uint64_t gd_ix, bool first)
{
	struct err one = ERR_INIT;
	uint64_t host = 0;

	if (!gd_host || !vmdk_gde(c->x, gd_host, gd_ix, &host, &one))
		return host;
	if (first)
		readcheck_found(&c->r, &one);
	else
		check_report_leak(
		    c, "redundant grain directory: bad entry", gd_ix);
	return 0;
}

/* The redundant table gets what the first one has, unless that is damaged.
 * What only the redundant one has stays: see check_rest.c. */
static int compare_tables(
    struct check *c, uint64_t host, uint64_t gd_ix, struct err *e)
{
	bool same = true, changed = false;

	for (size_t at = 0; at < c->x->gt_len; at += 4) {
		if (le32(c->gt + at) == le32(c->copy + at))
			continue;
		same = false;
		if (!le32(c->gt + at))
			continue;
		memcpy(c->copy + at, c->gt + at, 4);
		changed = true;
	}
	if (same)
		return 0;
	c->differ = true;
	check_report_leak(c, "redundant grain table that differs:", gd_ix);
	if (!c->leaks_too || !changed ||
	    c->r.out->corruptions > c->corruptions_fixed)
		return 0;
	c->leaks_fixed++;
	return host_pwrite(c->x->file, c->copy, c->x->gt_len, host, e);
}

int check_read_table(
    struct check *c, uint8_t *buf, uint64_t host, struct err *e)
{
	return host ? host_pread(c->x->file, buf, c->x->gt_len, host, e) : 0;
}

/* Does the redundant table say the same? */
static bool agreed(const struct check *c, uint32_t ix)
{
	size_t at = 4 * (size_t)ix;

	return !c->copy || !memcmp(c->gt + at, c->copy + at, 4);
}

/* Of two entries for one grain, that which both tables have keeps it. */
static int check_entries(
    struct check *c, uint64_t gt_host, uint64_t gd_ix, struct err *e)
{
	uint32_t n = c->x->gt_n;
	CLEANUP_FREE bool *later = calloc(n, 1);

	if (!later)
		return err_nomem(e);
	for (uint32_t i = 0; i < n; i++) {
		later[i] = !agreed(c, i);
		if (!later[i] && check_entry(c, gt_host, gd_ix * n + i, e))
			return -1;
	}
	for (uint32_t i = 0; i < n; i++)
		if (later[i] && check_entry(c, gt_host, gd_ix * n + i, e))
			return -1;
	return 0;
}

static int check_table(struct check *c, uint64_t gd_ix, struct err *e)
{
	struct vmdk_extent *x = c->x;
	uint64_t host = find_table(c, x->gd_host, gd_ix, true);
	uint64_t copy_host = find_table(c, x->rgd_host, gd_ix, false);
	uint8_t *copy = c->copy;
	int rc;

	if (!host) {
		c->differ |= copy_host;
		return 0;
	}
	if (check_read_table(c, c->gt, host, e) ||
	    check_read_table(c, copy, copy_host, e))
		return -1;
	c->copy = copy_host ? copy : NULL;
	rc = check_entries(c, host, gd_ix, e);
	if (!rc && copy_host)
		rc = compare_tables(c, copy_host, gd_ix, e);
	c->copy = copy;
	return rc;
}

/* ---- extents ---------------------------------------------------------- */

static int check_tables(struct check *c, struct err *e)
{
	struct vmdk_extent *x = c->x;
	uint64_t head = SECTOR_LEN;

	if (x->h.desc < 1024 && x->h.desc_n < 1024)
		head = (max_u64(1, x->h.desc) + x->h.desc_n) * SECTOR_LEN;
	if (check_claim(c, "header", 0, head, e) ||
	    claim_tables(c, x->gd_host, e) ||
	    (x->rgd_host && claim_tables(c, x->rgd_host, e)))
		return -1;
	for (uint64_t i = 0; i < x->gd_n; i++)
		if (check_table(c, i, e) ||
		    image_work(c->r.img, x->gt_n * x->grain_len, e))
			return -1;
	for (uint64_t i = 0; c->differ && x->rgd_host && i < x->gd_n; i++)
		if (check_rest(c, i, e))
			return -1;
	return check_leaks(c, e);
}

static int check_extent(struct check *c, struct vmdk_extent *x, struct err *e)
{
	int rc;

	c->x = x;
	c->any = c->differ = false;
	c->lag = 0;
	c->gt = calloc(1, x->gt_len);
	c->copy = calloc(1, x->gt_len);
	clusterset_init(&c->meta);
	clusterset_init(&c->used);
	clusterset_init(&c->odd);
	rc = c->gt && c->copy ? check_tables(c, e) : err_nomem(e);
	clusterset_destroy(&c->meta);
	clusterset_destroy(&c->used);
	clusterset_destroy(&c->odd);
	free(c->gt);
	free(c->copy);
	tables_forget_level(x->tables, TABLE_MAP);
	if (c->corruptions_fixed || c->leaks_fixed)
		return rc || host_sync(x->file, e) ? -1 : 0;
	return rc;
}

static bool in_place(const struct vmdk_extent *x)
{
	return (x->kind == VMDK_SPARSE && !x->compressed) ||
	       x->kind == VMDK_COW;
}

/* A stream that lost its footer was read from its markers. */
static void check_footer(struct check *c, struct vmdk_extent *x)
{
	if (!x->lost_footer)
		return;
	readcheck_report(&c->r,
	    "ERROR: %s: the stream has no valid footer: its tables were read "
	    "from its markers",
	    x->file->name);
	if (c->all) {
		x->lost_footer = false;
		c->corruptions_fixed++;
	}
}

static int look(struct check *c, struct err *e)
{
	struct vmdk *v = vmdk_of(c->r.img);
	bool plain = true, wrong = v->wrong_parent;
	int rc = 0;

	image_work_begin(c->r.img, img_size(c->r.img));
	for (size_t i = 0; !rc && i < v->n; i++) {
		check_footer(c, &v->extent[i]);
		if (!in_place(&v->extent[i]))
			continue;
		plain = false;
		rc = check_extent(c, &v->extent[i], e);
	}
	if (rc || !plain)
		return rc;
	v->wrong_parent = false;
	rc = readcheck_run(&c->r, e);
	v->wrong_parent = wrong;
	return rc;
}

static uint64_t step_of(const struct image *img)
{
	return max_u64(img->unit, VMDK_GRAIN_LEN);
}

int vmdk_check(struct image *img, struct img_check *out,
    void (*report)(void *, const char *), void *arg, struct err *e)
{
	struct check c = {.r = {.img = img,
			      .step = step_of(img),
			      .out = out,
			      .report = report,
			      .arg = arg}};

	return look(&c, e);
}

int vmdk_repair(struct image *img, enum img_repair what, struct img_check *out,
    void (*report)(void *, const char *), void *arg, struct err *e)
{
	struct img_check found = {0};
	struct check c = {.r = {.img = img,
			      .step = step_of(img),
			      .out = &found,
			      .report = report,
			      .arg = arg},
	    .leaks_too = true,
	    .all = what == IMG_REPAIR_ALL};
	struct check again;

	if (look(&c, e))
		return -1;
	again = (struct check){.r = c.r};
	again.r.out = out;
	again.r.errors_only = true;
	if (look(&again, e))
		return -1;
	out->corruptions_fixed =
	    min_u64(c.corruptions_fixed, found.corruptions);
	out->leaks_fixed = min_u64(c.leaks_fixed, found.leaks);
	return 0;
}
