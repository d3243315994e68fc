/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Checking and repairing VHDs: see vpc.h.
 *
 * A damaged footer or header does not open; the other copy of the footer
 * counts where one is good, and a repair writes both.
 */
#include "../core/request.h"
#include "vpc.h"

/* The footer at the end, if it is there, is where the next block goes. */
static int claim_all(struct flat *f, struct err *e)
{
	struct hostfile *file = f->img->file;
	uint64_t tail = host_size(file) - VPC_FOOTER_LEN;
	uint8_t p[VPC_FOOTER_LEN];

	if (vpc_claim_structures(f, e) ||
	    host_pread(file, p, sizeof p, tail, e))
		return -1;
	if (!vpc_footer_ok(p))
		return 0;
	return space_claim(&f->space, tail, sizeof p, e) < 0 ? -1 : 0;
}

/* 1: the copy of the footer at `host` says what the one that counts does. */
static int same_footer(struct image *img, uint64_t host, struct err *e)
{
	uint8_t p[VPC_FOOTER_LEN], want[VPC_FOOTER_LEN];
	struct vpc_footer f;

	if (host_pread(img->file, p, sizeof p, host, e))
		return -1;
	if (!vpc_footer_ok(p))
		return 0;
	/* Fields that we do not keep may differ. */
	vpc_footer_unpack(p, &f);
	vpc_footer_pack(p, &f);
	vpc_footer_pack(want, &vpc_of(img)->footer);
	return !memcmp(p, want, sizeof p);
}

/* A crash may leave another one at the end, or none: that harms no data. */
static int check_footers(struct flat_check *c, struct err *e)
{
	struct image *img = c->f->img;
	uint64_t tail = host_size(img->file) - VPC_FOOTER_LEN;
	int head_rc = same_footer(img, 0, e), tail_rc;

	if (head_rc < 0)
		return -1;
	tail_rc = same_footer(img, tail, e);
	if (tail_rc < 0)
		return -1;
	if (!head_rc)
		flat_report(c, &c->out->corruptions,
		    "ERROR the copy of the VHD footer at 0 is damaged");
	if (!tail_rc)
		flat_report(c, &c->out->leaks,
		    "The VHD footer at %llu is missing, or not what its copy "
		    "is",
		    (unsigned long long)tail);
	c->fixed_n += !head_rc + !tail_rc;
	return 0;
}

static int look(struct flat_check *c, struct err *e)
{
	if (flat_check(c, claim_all, e))
		return -1;
	c->out->leaks = c->hole_n + c->tail_n;
	return check_footers(c, e);
}

int vpc_check(struct image *img, struct img_check *out,
    void (*report)(void *, const char *), void *arg, struct err *e)
{
	struct flat_check c = {
	    .f = flat_of(img), .out = out, .report = report, .arg = arg};

	if (vpc_of(img)->footer.type == VPC_FIXED)
		return 0;
	return look(&c, e);
}

/* The copy goes first: the footer at the end, which may be the only good one,
 * may lie across the place of the new one. */
static int store_all(struct image *img, struct err *e)
{
	return vpc_footer_store(img, 0, e) || host_sync(img->file, e) ||
		       vpc_settle(img, e)
		   ? -1
		   : 0;
}

int vpc_repair(struct image *img, enum img_repair what, struct img_check *out,
    void (*report)(void *, const char *), void *arg, struct err *e)
{
	struct vpc *v = vpc_of(img);
	struct img_check found = {0};
	struct flat_check c = {.f = flat_of(img),
	    .out = &found,
	    .report = report,
	    .arg = arg,
	    .repair = what == IMG_REPAIR_ALL};

	if (v->footer.type == VPC_FIXED)
		return 0;
	if (look(&c, e) || image_commit(img, e))
		return -1;
	if (c.fixed_n ? store_all(img, e)
		      : flat_scan(c.f, vpc_claim_structures, e))
		return -1;
	return flat_check_again(img, &found, out, e);
}
