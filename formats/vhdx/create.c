/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Making a VHDX image: headers, log, metadata, BAT, and the blocks of a fixed
 * one.  The identifier goes last: until it is there the file is no image.
 */
#include <errno.h>
#include <stdlib.h>

#include "../core/measure.h"
#include "../core/utf16.h"
#include "vhdx.h"

const struct img_opt vhdx_create_opts[] = {
    {"size", IMG_OPT_SIZE, "Virtual disk size; max of 64TB.", NULL},
    {"log_size", IMG_OPT_SIZE, "Log size; min 1MB.", "1048576"},
    {"block_size", IMG_OPT_SIZE,
	"Block Size; min 1MB, max 256MB. 0 means auto-calculate based on image "
	"size.",
	"0"},
    {"subformat", IMG_OPT_STR,
	"VHDX format type, can be either 'dynamic' or 'fixed'. Default is "
	"'dynamic'.",
	NULL},
    {"block_state_zero", IMG_OPT_BOOL,
	"Force use of payload blocks of type 'ZERO'. Non-standard, but "
	"default.  Do not set to 'off' when using 'qemu-img convert' with "
	"subformat=dynamic.",
	NULL},
    {"backing_file", IMG_OPT_STR, "File name of the parent", NULL},
    {"backing_fmt", IMG_OPT_STR, "Image format of the parent: vhdx", NULL},
    {0},
};

struct params {
	uint32_t log_len;
	bool fixed, zero; /* blocks are all there; are recorded as zeroes */
	struct vhdx_meta m;
	struct vhdx_region bat, meta;
	uint64_t bat_n, data_host; /* where the blocks begin */
};

/* ---- options ---------------------------------------------------------- */

static int get_log_size(struct options *o, struct params *p, struct err *e)
{
	uint64_t len = MiB;

	if (options_size(o, "log_size", &len, e) < 0)
		return -1;
	if (len >= 4 * GiB - MiB + 1)
		return err_usage(e, "Log size must be smaller than 4 GB");
	if (!len)
		return err_usage(e, "Log size must be a multiple of 1 MB");
	p->log_len = (uint32_t)round_up(len, MiB);
	return 0;
}

static uint64_t usual_block_size(uint64_t size)
{
	if (size > 32 * TiB)
		return 64 * MiB;
	if (size > 100 * GiB)
		return 32 * MiB;
	return size > GiB ? 16 * MiB : 8 * MiB;
}

static int get_block_size(
    struct options *o, uint64_t size, struct params *p, struct err *e)
{
	uint64_t len = 0;

	if (options_size(o, "block_size", &len, e) < 0)
		return -1;
	if (!len)
		len = usual_block_size(size);
	len = min_u64(len, VHDX_BLOCK_MAX);
	len = round_up(len, VHDX_BLOCK_MIN);
	if (!is_pow2(len))
		return err_usage(e, "Block size must be a power of two");
	p->m.block_len = (uint32_t)len;
	return 0;
}

static int get_subformat(struct options *o, struct params *p, struct err *e)
{
	const char *text = options_get(o, "subformat");

	p->zero = true;
	if (options_bool(o, "block_state_zero", &p->zero, e) < 0)
		return -1;
	p->fixed = text && !strcmp(text, "fixed");
	if (text && !p->fixed && strcmp(text, "dynamic"))
		return err_usage(e,
		    "Parameter 'subformat' does not accept value '%s'", text);
	if (p->fixed && p->m.has_parent)
		return err_usage(
		    e, "A fixed VHDX image cannot have a backing file");
	return 0;
}

static void lay_out(struct params *p)
{
	p->bat_n = vhdx_bat_n(
	    p->m.size, p->m.block_len, p->m.sector_len, p->m.has_parent);
	p->meta = (struct vhdx_region){VHDX_UNIT + p->log_len, VHDX_UNIT};
	p->bat = (struct vhdx_region){p->meta.host + p->meta.len,
	    (uint32_t)round_up(max_u64(p->bat_n, 1) * 8, VHDX_UNIT)};
	p->data_host = p->bat.host + p->bat.len;
}

static int get_params(struct options *o, uint64_t size, bool has_parent,
    struct params *p, struct err *e)
{
	*p = (struct params){
	    .m = {.size = size, .sector_len = 512, .has_parent = has_parent}};
	if (get_subformat(o, p, e))
		return -1;
	if (size > VHDX_SIZE_MAX)
		return err_set(
		    e, ERR_USAGE, EINVAL, "Image size too large; max of 64TB");
	if (get_log_size(o, p, e) || get_block_size(o, size, p, e))
		return -1;
	p->m.keeps_blocks = p->fixed;
	lay_out(p);
	return 0;
}

/* ---- the parent ------------------------------------------------------- */

static int check_parent(const struct create_args *a, struct err *e)
{
	if (a->backing_fmt && strcmp(a->backing_fmt, "vhdx"))
		return err_usage(e,
		    "The backing file of a VHDX image must be a VHDX image, "
		    "not %s",
		    a->backing_fmt);
	return 0;
}

int vhdx_create_check(const struct create_args *a, struct err *e)
{
	struct params p;

	if (get_params(a->o, a->size, a->backing, &p, e))
		return -1;
	return a->backing ? check_parent(a, e) : 0;
}

/* ---- what is written -------------------------------------------------- */

/* A payload entry; the BAT has a bitmap's entry behind each chunk. */
static uint64_t first_entry(const struct params *p, uint64_t block_ix)
{
	if (p->fixed)
		return (p->data_host + block_ix * p->m.block_len) | VHDX_FULL;
	return p->zero && !p->m.has_parent ? VHDX_ZERO : VHDX_NOT_PRESENT;
}

static int write_bat(struct hostfile *f, const struct params *p, struct err *e)
{
	uint64_t chunk_n = VHDX_BITMAP_BITS * p->m.sector_len / p->m.block_len;
	uint64_t block_n = div_up(p->m.size, p->m.block_len), per = MiB / 8;
	CLEANUP_FREE uint8_t *buf = malloc(MiB);

	if (!buf)
		return err_nomem(e);
	if (first_entry(p, 0) == VHDX_NOT_PRESENT)
		return host_zero(f, p->bat.host, p->bat.len, 0, e);
	for (uint64_t ix = 0; ix < p->bat.len / 8; ix += per) {
		memset(buf, 0, MiB);
		for (uint64_t i = 0; i < per; i++) {
			uint64_t at = ix + i,
				 block_ix = at - at / (chunk_n + 1);

			if (at % (chunk_n + 1) != chunk_n && block_ix < block_n)
				put_le64(buf + i * 8, first_entry(p, block_ix));
		}
		if (host_pwrite(f, buf, MiB, p->bat.host + ix * 8, e))
			return -1;
	}
	return 0;
}

static int write_regions(
    struct hostfile *f, const struct params *p, struct err *e)
{
	CLEANUP_FREE uint8_t *table = malloc(VHDX_TABLE_LEN);

	if (!table)
		return err_nomem(e);
	vhdx_regions_pack(table, &p->bat, &p->meta);
	for (unsigned i = 0; i < 2; i++)
		if (host_pwrite(f, table, VHDX_TABLE_LEN,
			VHDX_REGION_HOST + i * VHDX_TABLE_LEN, e))
			return -1;
	return 0;
}

/* Both slots. */
static int write_headers(
    struct hostfile *f, const struct params *p, struct err *e)
{
	struct vhdx_header h = {.log_host = VHDX_UNIT, .log_len = p->log_len};

	if (vhdx_guid_new(&h.file_write, e) || vhdx_guid_new(&h.data_write, e))
		return -1;
	for (unsigned i = 0; i < 2; i++)
		if (vhdx_header_put(f, &h, e))
			return -1;
	return 0;
}

static int write_identifier(struct hostfile *f, struct err *e)
{
	uint8_t buf[64] = "vhdxfile";

	if (utf8_to_utf16(buf + 8, sizeof buf - 8, "imgd") < 0)
		return -1;
	return host_pwrite(f, buf, sizeof buf, 0, e);
}

static int write_metadata(
    const struct create_args *a, const struct params *p, struct err *e)
{
	CLEANUP_FREE uint8_t *locator = NULL;
	int64_t len = 0;

	if (a->backing) {
		locator = malloc(VHDX_LOCATOR_MAX);
		if (!locator)
			return err_nomem(e);
		len = vhdx_parent_locator(
		    locator, a->name, a->backing, a->backing_fmt, NULL, e);
		if (len < 0)
			return -1;
	}
	return host_zero(a->file, p->meta.host, p->meta.len, 0, e) ||
		       vhdx_meta_write(a->file, p->meta.host, &p->m, locator,
			   (uint32_t)len, e)
		   ? -1
		   : 0;
}

/* A device has bytes of its own; a file ends where the blocks do. */
static int make_room(struct hostfile *f, const struct params *p, struct err *e)
{
	uint64_t len = p->data_host;

	if (p->fixed)
		len += round_up(p->m.size, p->m.block_len);
	if (f->fixed_size && p->fixed)
		return host_zero(f, p->data_host, len - p->data_host, 0, e);
	return host_grow(f, len, e);
}

int vhdx_create(const struct create_args *a, struct err *e)
{
	struct params p;

	if (get_params(a->o, a->size, a->backing, &p, e) ||
	    (a->backing && check_parent(a, e)))
		return -1;
	return write_metadata(a, &p, e) || write_bat(a->file, &p, e) ||
		       make_room(a->file, &p, e) ||
		       write_regions(a->file, &p, e) ||
		       write_headers(a->file, &p, e) ||
		       write_identifier(a->file, e)
		   ? -1
		   : 0;
}

/* ---- measure ---------------------------------------------------------- */

int vhdx_measure(struct options *o, uint64_t size, struct image *src,
    struct img_measure *out, struct err *e)
{
	bool backing = options_get(o, "backing_file");
	struct params p;
	uint64_t full, used = 0;

	options_get(o, "backing_fmt");
	if (get_params(o, size, backing, &p, e))
		return -1;
	full = div_up(size, p.m.block_len) * p.m.block_len;
	if (p.fixed)
		used = full;
	else if (src && measure_data(src, p.m.block_len, &used, e))
		return -1;
	out->fully_allocated = p.data_host + full;
	out->required = p.data_host + used;
	out->bitmaps = -1;
	return 0;
}
