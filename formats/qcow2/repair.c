/* SPDX-License-Identifier: BSD-3-Clause */
/* Repairing a qcow2 image, in order: see repair.h. */
#include <errno.h>

#include "repair.h"

struct repair {
	struct image *img;
	enum img_repair what;
	struct img_check *out;
	void (*report)(void *arg, const char *line);
	void *arg;
};

static bool clean(const struct img_check *x)
{
	return !x->corruptions && !x->leaks && !x->check_errors;
}

/* Corruptions without the flags, which follow from the counts. */
static uint64_t real_corruptions(const struct check *c)
{
	return c->out->corruptions - c->copied_n;
}

/* What is found is known already: silent, into *scratch. */
static int begin_again(
    struct check *c, struct repair *r, struct img_check *scratch, struct err *e)
{
	*scratch = (struct img_check){0};
	if (check_begin(c, r->img, scratch, NULL, NULL, e))
		return -1;
	c->repair = true;
	c->salvage = r->what == IMG_REPAIR_ALL;
	return 0;
}

static void speak(struct check *c, const struct repair *r)
{
	c->report = r->report;
	c->arg = r->arg;
}

/* Counts in the file are those in c->refs. */
static int fix_flags(struct check *c, uint64_t *flags_n, struct err *e)
{
	c->fix_copied = true;
	if (check_copied(c, e))
		return -1;
	*flags_n = c->flags_n;
	return host_sync(c->img->file, e);
}

/* ---- leaks --------------------------------------------------------------- */

static int lower(struct check *c, struct repair *r, bool flags,
    uint64_t *flags_n, struct err *e)
{
	if (check_references(c, e) || qcow2_clear_features(r->img, e))
		return -1;
	speak(c, r);
	if (repair_counts(c, false, e))
		return -1;
	return flags ? fix_flags(c, flags_n, e) : 0;
}

/*
 * Space that is in use and has no count could be given away, and a damaged
 * structure of counts says little: nothing is touched then.
 */
static int repair_leaks(struct repair *r, const struct check *found,
    uint64_t *flags_n, struct err *e)
{
	bool flags = !real_corruptions(found) && !r->out->check_errors;
	struct img_check scratch;
	struct check c;
	int rc;

	if (found->rebuild || found->uncounted) {
		if (r->report)
			r->report(r->arg,
			    "ERROR need to rebuild refcount structures");
		err_set(e, ERR_DAMAGED, EIO,
		    "%s: not only leaks: the reference counts must be rebuilt",
		    r->img->name);
		err_hint(e, "Repair it with check -r all.");
		return -1;
	}
	rc = begin_again(&c, r, &scratch, e);
	if (!rc)
		rc = lower(&c, r, flags, flags_n, e);
	check_end(&c);
	return rc;
}

/* ---- all ----------------------------------------------------------------- */

/* Does the refcount table share its space? */
static bool table_shared(struct check *c)
{
	uint64_t cl = c->q->h.reftable_host >> c->q->h.cluster_bits;

	for (uint64_t i = 0; i < c->q->h.reftable_cl; i++)
		if (refmap_get(&c->refs, cl + i) != 1)
			return true;
	return !c->q->h.reftable_cl;
}

static int mend_entries(struct repair *r, struct err *e)
{
	struct img_check scratch;
	struct check c;
	int rc = begin_again(&c, r, &scratch, e);

	if (!rc)
		rc = check_references(&c, e);
	speak(&c, r);
	if (!rc)
		rc = repair_entries(&c, e);
	check_end(&c);
	return rc;
}

/* 1 done, 0 they have to be rebuilt. */
static int counts_in_place(
    struct check *c, struct repair *r, uint64_t *flags_n, struct err *e)
{
	if (check_references(c, e))
		return -1;
	if (c->rebuild || c->outside || table_shared(c))
		return 0;
	speak(c, r);
	if (repair_counts(c, true, e) || repair_counts(c, false, e) ||
	    fix_flags(c, flags_n, e))
		return -1;
	return 1;
}

static int counts_anew(
    struct check *c, struct repair *r, uint64_t *flags_n, struct err *e)
{
	repair_widen(c);
	if (check_mapping(c, e) || check_load_reftable(c, e))
		return -1;
	speak(c, r);
	return repair_rebuild(c, e) ? -1 : fix_flags(c, flags_n, e);
}

static int repair_all(struct repair *r, const struct check *found,
    uint64_t *flags_n, struct err *e)
{
	struct img_check scratch;
	struct check c;
	int rc = 0;

	if (qcow2_clear_features(r->img, e) ||
	    (real_corruptions(found) && mend_entries(r, e)))
		return -1;
	if (!found->rebuild && !found->snapshots_bad) {
		rc = begin_again(&c, r, &scratch, e);
		if (!rc)
			rc = counts_in_place(&c, r, flags_n, e);
		check_end(&c);
	}
	if (rc)
		return rc < 0 ? -1 : 0;
	rc = begin_again(&c, r, &scratch, e);
	c.new_snapshots = found->snapshots_bad;
	if (!rc)
		rc = counts_anew(&c, r, flags_n, e);
	check_end(&c);
	return rc;
}

/* ---- the whole ----------------------------------------------------------- */

static int mark_clean(struct image *img, struct err *e)
{
	struct qcow2_header *h = &qcow2_of(img)->h;
	uint64_t marks = QCOW2_I_DIRTY | QCOW2_I_CORRUPT;

	if (!(h->incompatible & marks))
		return 0;
	h->incompatible &= ~marks;
	if (qcow2_header_write(img, e))
		return -1;
	return host_sync(img->file, e);
}

static uint64_t less(uint64_t before, uint64_t after)
{
	return before > after ? before - after : 0;
}

/* What is there now, against what there was. */
static int look_again(struct repair *r, const struct check *found,
    uint64_t flags_n, struct err *e)
{
	struct img_check before = *r->out, *now = r->out;
	struct check c;
	int rc;

	*now = (struct img_check){0};
	rc = check_begin(&c, r->img, now, r->report, r->arg, e);
	if (!rc)
		rc = check_run(&c, e);
	now->leaks_fixed = less(before.leaks, now->leaks);
	now->corruptions_fixed =
	    flags_n +
	    less(before.corruptions - found->copied_n, real_corruptions(&c));
	check_end(&c);
	return rc;
}

static int repair(struct repair *r, const struct check *found, struct err *e)
{
	uint64_t flags_n = 0;
	int rc;

	if (found->unknown)
		return err_set(e, ERR_DAMAGED, EIO,
		    "%s: not repaired, since the bitmaps' space would be lost",
		    r->img->name);
	if (r->what == IMG_REPAIR_ALL)
		rc = repair_all(r, found, &flags_n, e);
	else
		rc = repair_leaks(r, found, &flags_n, e);
	if (rc)
		return -1;
	return look_again(r, found, flags_n, e);
}

int qcow2_repair(struct image *img, enum img_repair what, struct img_check *out,
    void (*report)(void *, const char *), void *arg, struct err *e)
{
	struct repair r = {img, what, out, report, arg};
	struct check found;
	int rc = check_begin(&found, img, out, report, arg, e);

	found.repair = true;
	found.salvage = what == IMG_REPAIR_ALL;
	if (!rc)
		rc = check_run(&found, e);
	check_end(&found); /* its numbers stay */
	if (!rc && !clean(out))
		rc = repair(&r, &found, e);
	if (!rc && !out->corruptions && !out->check_errors)
		rc = mark_clean(img, e);
	return rc;
}
