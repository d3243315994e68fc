/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Check and repair of a flat table: see flat.h.
 *
 * One pass claims the space of every block, which finds what has two owners
 * and what has none.  A second one, of a repair, gives copies to all but the
 * first of those that share, and to blocks that lie on what is no block's.
 */
#include <stdarg.h>
#include <stdio.h>

#include "duplicate.h"
#include "flat.h"
#include "request.h"

void flat_report(struct flat_check *c, uint64_t *count, const char *fmt, ...)
{
	char line[512];
	va_list ap;

	if (count)
		++*count;
	if (!c->report)
		return;
	va_start(ap, fmt);
	vsnprintf(line, sizeof line, fmt, ap);
	va_end(ap);
	c->report(c->arg, line);
}

static int bad_entry(
    struct flat_check *c, uint64_t ix, const char *fault, struct err *e)
{
	const struct flat_block hole = {.kind = EXT_HOLE};

	flat_report(c, &c->out->corruptions,
	    "%s block %llu: the table entry %s",
	    c->repair ? "Repairing" : "ERROR", (unsigned long long)ix, fault);
	if (!c->repair)
		return 0;
	c->fixed_n++;
	return flat_put(c->f, ix, &hole, e);
}

static int check_block(struct flat *f, uint64_t ix, const struct flat_block *b,
    const char *fault, void *arg, struct err *e)
{
	struct flat_check *c = arg;
	int rc;

	if (fault)
		return bad_entry(c, ix, fault, e);
	if (b->kind != EXT_DATA) {
		c->last_host = 0;
		return 0;
	}
	c->out->allocated++;
	if (c->last_host && b->host != c->last_host)
		c->out->fragmented++;
	c->last_host = b->host + f->space_len;
	rc = flat_claim(f, b, &c->claimed_n, e);
	if (rc > 0)
		flat_report(c, &c->out->corruptions,
		    "%s block %llu: its space at %#llx is used twice",
		    c->repair ? "Repairing" : "ERROR", (unsigned long long)ix,
		    (unsigned long long)b->host);
	return rc < 0 ? -1 : 0;
}

/* Whoever comes first keeps its space. */
struct unshare {
	struct flat_check *c;
	struct space kept;
};

static int unshare_block(struct flat *f, uint64_t ix,
    const struct flat_block *b, const char *fault, void *arg, struct err *e)
{
	struct unshare *u = arg;
	struct flat_block next = {.kind = EXT_DATA};
	uint64_t got;
	int rc;

	if (fault || b->kind != EXT_DATA ||
	    !space_shared(&f->space, b->host, f->space_len))
		return 0;
	rc = space_claim(&u->kept, b->host, f->space_len, e);
	if (rc <= 0)
		return rc;
	if (flat_take(f, 1, &next.host, &got, e) ||
	    duplicate(f->img->file, b->host, next.host, f->space_len, e) ||
	    flat_put(f, ix, &next, e))
		return -1;
	u->c->fixed_n++;
	return image_commit_due(f->img) ? image_commit(f->img, e) : 0;
}

/* What is no block's comes before all blocks. */
static int keep_structures(struct flat *f, struct space *kept,
    int (*structures)(struct flat *f, struct err *e), struct err *e)
{
	struct space now = f->space;
	int rc;

	if (space_scan_begin(kept, e))
		return -1;
	if (!structures)
		return 0;
	f->space = *kept;
	rc = structures(f, e);
	*kept = f->space;
	f->space = now;
	return rc;
}

static int give_copies(struct flat_check *c,
    int (*structures)(struct flat *f, struct err *e), struct err *e)
{
	const struct space *s = &c->f->space;
	struct unshare u = {.c = c};
	int rc;

	space_init(&u.kept, s->base, s->unit_len, space_end(s),
	    s->base + s->max_ix * s->unit_len);
	rc = keep_structures(c->f, &u.kept, structures, e);
	if (!rc)
		rc = flat_each(c->f, unshare_block, &u, e);
	space_destroy(&u.kept);
	return rc;
}

static int scan(struct flat_check *c,
    int (*structures)(struct flat *f, struct err *e), struct err *e)
{
	struct space *s = &c->f->space;
	uint64_t end = s->end_ix, units = c->f->space_len / s->unit_len;

	if (space_scan_begin(s, e))
		return err_prefix(e, "%s: ", c->f->img->name), -1;
	if ((structures && structures(c->f, e)) ||
	    flat_each(c->f, check_block, c, e))
		return -1;
	space_scan_end(s);
	c->hole_n = s->free_n / units;
	c->tail_n = (end - min_u64(end, s->end_ix)) / units;
	if (c->repair && s->shared.n && give_copies(c, structures, e))
		return -1;
	c->end = space_end(s);
	return 0;
}

int flat_check_again(struct image *img, const struct img_check *found,
    struct img_check *out, struct err *e)
{
	*out = (struct img_check){0};
	if (img->drv->check(img, out, NULL, NULL, e))
		return -1;
	out->corruptions_fixed = found->corruptions - out->corruptions;
	out->leaks_fixed = found->leaks - min_u64(found->leaks, out->leaks);
	return 0;
}

int flat_check(struct flat_check *c,
    int (*structures)(struct flat *f, struct err *e), struct err *e)
{
	struct flat *f = c->f;
	struct space was = f->space;
	uint64_t limit = was.base + was.max_ix * was.unit_len;
	int rc;

	if (image_writable(f->img) && image_commit(f->img, e))
		return -1;
	c->out->total = f->block_n;
	space_init(&f->space, was.base, was.unit_len,
	    max_u64(host_size(f->img->file), was.base), limit);
	rc = scan(c, structures, e);
	if (!c->repair) {
		space_destroy(&f->space);
		f->space = was;
		return rc;
	}
	space_destroy(&was);
	return rc;
}
