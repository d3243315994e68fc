/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Checking, repairing and walking VDI images.
 *
 * The blocks of the file have no holes between them, and the header knows how
 * many there are.  So a block that nobody owns is a leak; a repair fills it
 * with one from the end, and cuts the file.
 */
#include "../core/request.h"
#include "vdi.h"

static int look(struct flat_check *c, struct err *e)
{
	const struct vdi *v = vdi_of(c->f->img);
	uint64_t want;

	if (flat_check(c, NULL, e))
		return -1;
	/* As others do, nothing is said of how much is allocated. */
	c->out->total = c->out->allocated = c->out->fragmented = 0;
	c->out->leaks = c->hole_n + c->tail_n;
	want = (c->end - v->h.data_host) / c->f->space_len;
	if (c->out->leaks)
		flat_report(c, NULL, "%llu blocks of the file are not used",
		    (unsigned long long)c->out->leaks);
	if (v->h.used_n >= want)
		return 0;
	/* Others would put the next block where one is. */
	flat_report(c, &c->out->corruptions,
	    "ERROR VDI header: %u blocks are in the file, it has %llu",
	    v->h.used_n, (unsigned long long)want);
	c->fixed_n++;
	return 0;
}

int vdi_check(struct image *img, struct img_check *out,
    void (*report)(void *, const char *), void *arg, struct err *e)
{
	struct flat_check c = {
	    .f = flat_of(img), .out = out, .report = report, .arg = arg};

	return look(&c, e);
}

int vdi_repair(struct image *img, enum img_repair what, struct img_check *out,
    void (*report)(void *, const char *), void *arg, struct err *e)
{
	struct img_check found = {0};
	struct flat_check c = {.f = flat_of(img),
	    .out = &found,
	    .report = report,
	    .arg = arg,
	    .repair = what == IMG_REPAIR_ALL};

	if (vdi_load_header(img, e) || look(&c, e) || image_commit(img, e) ||
	    flat_scan(c.f, NULL, e) || vdi_close_holes(img, e))
		return -1;
	return flat_check_again(img, &found, out, e);
}

int vdi_walk(struct image *img, struct walker *w, struct err *e)
{
	return flat_walk(img, w, VDI_HEADER_LEN, "block map", e);
}
