/* SPDX-License-Identifier: BSD-3-Clause */
/* Making and measuring VHDs: see vpc.h. */
#include <errno.h>

#include "../core/measure.h"
#include "vpc.h"

const struct img_opt vpc_create_opts[] = {
    {"size", IMG_OPT_SIZE, "Virtual disk size", NULL},
    {"backing_file", IMG_OPT_STR, "File name of a parent image", NULL},
    {"backing_fmt", IMG_OPT_STR, "Format of the parent image: vpc", NULL},
    {"subformat", IMG_OPT_STR,
	"Type of virtual hard disk format. Supported formats are {dynamic "
	"(default) | fixed} ",
	NULL},
    {"force_size", IMG_OPT_BOOL,
	"Force disk size calculation to use the actual size specified, rather "
	"than using the nearest CHS-based calculation",
	NULL},
    {0},
};

/* What is to be made. */
struct plan {
	struct vpc_footer footer;
	struct vpc_header header;
	struct vpc_name locator; /* of the parent */
};

/* ---- size ------------------------------------------------------------- */

static int too_large(struct err *e)
{
	return err_set(e, ERR_USAGE, EFBIG,
	    "The image size is too large for file format 'vpc'");
}

/* The smallest geometry that has so many sectors. */
static int set_chs(struct vpc_footer *f, uint64_t sectors, struct err *e)
{
	uint64_t more = 0;

	do
		f->chs = vpc_geometry(sectors + more++);
	while (vpc_chs_sectors(f->chs) < min_u64(sectors, VPC_CHS_MAX));
	if (vpc_chs_sectors(f->chs) != VPC_CHS_MAX)
		sectors = vpc_chs_sectors(f->chs);
	if (sectors > VPC_SECTORS_MAX)
		return too_large(e);
	f->size = sectors * SECTOR_LEN;
	memcpy(f->creator, "qemu", 4);
	return 0;
}

static int set_exact(struct vpc_footer *f, uint64_t sectors, struct err *e)
{
	if (sectors > VPC_SECTORS_MAX)
		return too_large(e);
	vpc_set_size(f, sectors * SECTOR_LEN);
	return 0;
}

static int read_type(
    struct options *o, const char *backing, enum vpc_type *type, struct err *e)
{
	const char *text = options_get(o, "subformat");

	*type = backing ? VPC_DIFF : VPC_DYNAMIC;
	if (!text || !strcmp(text, "dynamic"))
		return 0;
	if (strcmp(text, "fixed"))
		return err_usage(e,
		    "Parameter 'subformat' does not accept value '%s'", text);
	if (backing)
		return err_usage(
		    e, "A fixed VHD image cannot have a backing file");
	*type = VPC_FIXED;
	return 0;
}

static int plan_sizes(struct options *o, uint64_t size, const char *backing,
    struct plan *p, struct err *e)
{
	bool exact = false;

	*p = (struct plan){0};
	if (read_type(o, backing, &p->footer.type, e) ||
	    options_bool(o, "force_size", &exact, e) < 0)
		return -1;
	/* Over a parent the disk is as large as asked, as the parent is. */
	if (exact || backing ? set_exact(&p->footer, size / SECTOR_LEN, e)
			     : set_chs(&p->footer, size / SECTOR_LEN, e))
		return -1;
	p->footer.original_size = p->footer.size;
	p->footer.timestamp = vpc_timestamp();
	p->footer.header_host =
	    p->footer.type == VPC_FIXED ? VPC_NO_OFFSET : VPC_FOOTER_LEN;
	p->header.block_len = VPC_BLOCK_USUAL;
	p->header.bat_host = VPC_FOOTER_LEN + VPC_HEADER_LEN;
	p->header.bat_n = (uint32_t)div_up(p->footer.size, VPC_BLOCK_USUAL);
	return 0;
}

static uint64_t bat_end(const struct plan *p)
{
	return p->header.bat_host +
	       round_up(4ull * p->header.bat_n, SECTOR_LEN);
}

/* ---- the parent ------------------------------------------------------- */

static int plan_parent(
    const struct create_args *a, struct plan *p, struct err *e)
{
	if (!a->backing)
		return 0;
	if (a->backing_fmt && strcmp(a->backing_fmt, "vpc"))
		return err_usage(e,
		    "The backing file of a VHD image must be a VHD image, not "
		    "%s",
		    a->backing_fmt);
	if (vpc_set_parent(&p->header, a->backing, bat_end(p), &p->locator, e))
		return -1;
	return vpc_parent_identity(a->name, a->backing, &p->header, e);
}

int vpc_create_check(const struct create_args *a, struct err *e)
{
	struct plan p;

	return plan_sizes(a->o, a->size, a->backing, &p, e) ||
		       plan_parent(a, &p, e)
		   ? -1
		   : 0;
}

/* ---- writing ---------------------------------------------------------- */

static int fill_bat(
    struct hostfile *f, uint64_t host, uint64_t end, struct err *e)
{
	uint8_t none[65536];

	memset(none, 0xff, sizeof none);
	for (uint64_t n; host < end; host += n) {
		n = min_u64(sizeof none, end - host);
		if (host_pwrite(f, none, n, host, e))
			return -1;
	}
	return 0;
}

/* The first copy of the footer goes last: until then the file is no image. */
static int write_blocks(struct hostfile *f, const struct plan *p,
    const uint8_t *footer, struct err *e)
{
	uint64_t end = bat_end(p) + round_up(p->locator.len, SECTOR_LEN);
	uint8_t header[VPC_HEADER_LEN];

	vpc_header_pack(header, &p->header);
	if (fill_bat(f, p->header.bat_host, bat_end(p), e) ||
	    (p->locator.len && host_pwrite(f, p->locator.text, p->locator.len,
				   bat_end(p), e)) ||
	    host_pwrite(f, header, sizeof header, VPC_FOOTER_LEN, e) ||
	    host_pwrite(f, footer, VPC_FOOTER_LEN, end, e))
		return -1;
	return host_pwrite(f, footer, VPC_FOOTER_LEN, 0, e);
}

int vpc_create(const struct create_args *a, struct err *e)
{
	uint8_t footer[VPC_FOOTER_LEN];
	struct plan p;

	if (plan_sizes(a->o, a->size, a->backing, &p, e) ||
	    plan_parent(a, &p, e) || vpc_new_id(p.footer.id, e))
		return -1;
	vpc_footer_pack(footer, &p.footer);
	if (p.footer.type != VPC_FIXED)
		return write_blocks(a->file, &p, footer, e);
	return host_pwrite(a->file, footer, sizeof footer, p.footer.size, e);
}

int vpc_measure(struct options *o, uint64_t size, struct image *src,
    struct img_measure *out, struct err *e)
{
	struct plan p;
	uint64_t block_len = VPC_BLOCK_USUAL, space_len, len = 0;

	if (plan_sizes(o, size, NULL, &p, e) ||
	    (src && measure_data(src, block_len, &len, e)))
		return -1;
	space_len = block_len + SECTOR_LEN;
	out->bitmaps = -1;
	out->required = out->fully_allocated = p.footer.size + VPC_FOOTER_LEN;
	if (p.footer.type == VPC_FIXED)
		return 0;
	out->fully_allocated =
	    bat_end(&p) + p.header.bat_n * space_len + VPC_FOOTER_LEN;
	out->required =
	    bat_end(&p) + len / block_len * space_len + VPC_FOOTER_LEN;
	return 0;
}
