/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Making VDI images, and measuring them.
 *
 * The header goes last: until it is there the file is no image at all.
 */
#include <errno.h>

#include "../core/measure.h"
#include "vdi.h"

/* Bytes of the map that are written at once. */
#define PIECE_LEN (1u * MiB)

const struct img_opt vdi_create_opts[] = {
    {"size", IMG_OPT_SIZE, "Virtual disk size", NULL},
    {"static", IMG_OPT_BOOL, "VDI static (pre-allocated) image", "off"},
    {0},
};

static int lay_out(
    struct options *o, uint64_t size, struct vdi_header *h, struct err *e)
{
	bool is_static = false;

	if (options_bool(o, "static", &is_static, e) < 0)
		return -1;
	if (size > VDI_SIZE_MAX)
		return err_set(e, ERR_USAGE, EFBIG,
		    "Unsupported VDI image size (size is 0x%llx, max supported "
		    "is 0x%llx)",
		    (unsigned long long)size, VDI_SIZE_MAX);
	*h = (struct vdi_header){
	    .type = is_static ? VDI_STATIC : VDI_DYNAMIC,
	    .map_host = VDI_HEADER_LEN,
	    .size = size,
	    .block_len = VDI_BLOCK_LEN,
	    .block_n = (uint32_t)div_up(size, VDI_BLOCK_LEN),
	};
	h->data_host = h->map_host + round_up(4ull * h->block_n, SECTOR_LEN);
	h->used_n = is_static ? h->block_n : 0;
	return 0;
}

int vdi_create_check(const struct create_args *a, struct err *e)
{
	struct vdi_header h;

	return lay_out(a->o, a->size, &h, e);
}

/* Entries say "nothing", or name the blocks in order. */
static int write_map(
    struct hostfile *f, const struct vdi_header *h, struct err *e)
{
	uint64_t len = h->data_host - h->map_host, n;
	CLEANUP_FREE uint8_t *buf = malloc(PIECE_LEN);

	if (!buf)
		return err_nomem(e);
	for (uint64_t at = 0; at < len; at += n) {
		n = min_u64(len - at, PIECE_LEN);
		for (uint64_t i = 0; i < n; i += 4) {
			uint32_t ix = (uint32_t)((at + i) / 4);
			uint32_t entry = ix < h->used_n ? ix : VDI_HOLE;

			put_le32(buf + i, ix < h->block_n ? entry : 0);
		}
		if (host_pwrite(f, buf, n, h->map_host + at, e))
			return -1;
	}
	return 0;
}

static int write_header(
    struct hostfile *f, const struct vdi_header *h, struct err *e)
{
	static const char text[] = "<<< imgd Virtual Disk Image >>>\n";
	uint8_t buf[VDI_HEADER_LEN] = {0};

	memcpy(buf, text, sizeof text);
	put_le32(buf + VDI_F_SIGNATURE, VDI_SIGNATURE);
	put_le32(buf + VDI_F_VERSION, VDI_VERSION);
	put_le32(buf + VDI_F_HEADER_LEN, 0x180);
	put_le32(buf + VDI_F_TYPE, h->type);
	put_le32(buf + VDI_F_MAP_HOST, (uint32_t)h->map_host);
	put_le32(buf + VDI_F_DATA_HOST, (uint32_t)h->data_host);
	put_le32(buf + VDI_F_SECTOR_LEN, SECTOR_LEN);
	put_le64(buf + VDI_F_SIZE, h->size);
	put_le32(buf + VDI_F_BLOCK_LEN, h->block_len);
	put_le32(buf + VDI_F_BLOCK_N, h->block_n);
	put_le32(buf + VDI_F_USED_N, h->used_n);
	if (vdi_uuid_new(buf + VDI_F_UUID, e) ||
	    vdi_uuid_new(buf + VDI_F_UUID_CHANGED, e))
		return -1;
	return host_pwrite(f, buf, sizeof buf, 0, e);
}

/* All blocks read as zeroes. */
static int make_blocks(
    struct hostfile *f, const struct vdi_header *h, struct err *e)
{
	uint64_t len = (uint64_t)h->used_n * h->block_len;

	if (!len)
		return 0;
	return host_zero(f, h->data_host, len, HOST_ZERO_PUNCH, e);
}

int vdi_create(const struct create_args *a, struct err *e)
{
	struct vdi_header h;

	if (lay_out(a->o, a->size, &h, e) || write_map(a->file, &h, e) ||
	    make_blocks(a->file, &h, e))
		return -1;
	return write_header(a->file, &h, e);
}

int vdi_measure(struct options *o, uint64_t size, struct image *src,
    struct img_measure *out, struct err *e)
{
	struct vdi_header h;
	uint64_t len = 0;

	if (lay_out(o, size, &h, e) ||
	    (src && measure_data(src, h.block_len, &len, e)))
		return -1;
	out->fully_allocated = h.data_host + (uint64_t)h.block_n * h.block_len;
	out->required =
	    h.type == VDI_STATIC ? out->fully_allocated : h.data_host + len;
	out->bitmaps = -1;
	return 0;
}
