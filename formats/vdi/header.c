/* SPDX-License-Identifier: BSD-3-Clause */
/* The header of VDI: see vdi.h. */
#include <errno.h>

#include "vdi.h"

/* Sizes of blocks that we take. */
#define BLOCK_LEN_MIN 4096u
#define BLOCK_LEN_MAX (16u * MiB)

static int check_kind(const uint8_t *buf, const char *name, struct err *e)
{
	uint32_t signature = le32(buf + VDI_F_SIGNATURE);
	uint32_t version = le32(buf + VDI_F_VERSION);
	uint32_t type = le32(buf + VDI_F_TYPE);

	if (signature != VDI_SIGNATURE)
		return err_set(e, ERR_NOT_FORMAT, EINVAL,
		    "Image not in VDI format (bad signature %08x)", signature);
	if (version != VDI_VERSION)
		return err_unsupported(e,
		    "unsupported VDI image (version %u.%u)", version >> 16,
		    version & 0xffff);
	if (type < VDI_DYNAMIC || type > VDI_DIFF)
		return err_unsupported(e,
		    "%s: VDI header: image type %u is not one of 1 to 4", name,
		    type);
	return 0;
}

static int check_block(const struct vdi_header *h, uint32_t sector_len,
    const char *name, struct err *e)
{
	if (sector_len != SECTOR_LEN)
		return err_unsupported(e,
		    "unsupported VDI image (sector size %u is not 512)",
		    sector_len);
	if (!is_pow2(h->block_len) || h->block_len < BLOCK_LEN_MIN ||
	    h->block_len > BLOCK_LEN_MAX)
		return err_unsupported(e,
		    "%s: VDI header: block size %u is not a power of two from "
		    "%u to %llu",
		    name, h->block_len, BLOCK_LEN_MIN, BLOCK_LEN_MAX);
	if (h->lead_len % SECTOR_LEN || h->lead_len > h->block_len)
		return err_unsupported(e,
		    "%s: VDI header: %u bytes before each block", name,
		    h->lead_len);
	return 0;
}

static int check_places(const struct vdi_header *h, uint64_t file_len,
    const char *name, struct err *e)
{
	uint64_t map_len = 4ull * h->block_n;

	if (h->map_host % SECTOR_LEN || h->data_host % SECTOR_LEN)
		return err_unsupported(e,
		    "%s: VDI header: block map at %llu, data at %llu: not "
		    "multiples of 512",
		    name, (unsigned long long)h->map_host,
		    (unsigned long long)h->data_host);
	if (h->map_host < VDI_HEADER_LEN ||
	    !range_ok(h->map_host, map_len, file_len) ||
	    h->data_host < h->map_host + map_len)
		return err_damaged(e,
		    "%s: VDI header: a block map of %llu bytes at %llu does "
		    "not lie between the header and the data at %llu, or not "
		    "in the file of %llu bytes",
		    name, (unsigned long long)map_len,
		    (unsigned long long)h->map_host,
		    (unsigned long long)h->data_host,
		    (unsigned long long)file_len);
	if (h->size > (uint64_t)h->block_n * h->block_len)
		return err_damaged(e,
		    "%s: VDI header: a disk of %llu bytes does not fit in %u "
		    "blocks of %u",
		    name, (unsigned long long)h->size, h->block_n,
		    h->block_len);
	return 0;
}

int vdi_header_parse(const uint8_t *buf, uint64_t file_len, const char *name,
    struct vdi_header *h, struct err *e)
{
	static const uint8_t none[VDI_UUID_LEN];
	uint64_t size = le64(buf + VDI_F_SIZE);

	if (check_kind(buf, name, e))
		return -1;
	*h = (struct vdi_header){
	    .type = (enum vdi_type)le32(buf + VDI_F_TYPE),
	    .map_host = le32(buf + VDI_F_MAP_HOST),
	    .data_host = le32(buf + VDI_F_DATA_HOST),
	    .block_len = le32(buf + VDI_F_BLOCK_LEN),
	    .lead_len = le32(buf + VDI_F_LEAD_LEN),
	    .block_n = le32(buf + VDI_F_BLOCK_N),
	    .used_n = le32(buf + VDI_F_USED_N),
	};
	memcpy(h->uuid, buf + VDI_F_UUID, VDI_UUID_LEN);
	memcpy(h->changed, buf + VDI_F_UUID_CHANGED, VDI_UUID_LEN);
	memcpy(h->parent, buf + VDI_F_UUID_PARENT, VDI_UUID_LEN);
	memcpy(
	    h->parent_changed, buf + VDI_F_UUID_PARENT_CHANGED, VDI_UUID_LEN);
	h->has_parent = h->type == VDI_UNDO || h->type == VDI_DIFF ||
			memcmp(h->parent, none, VDI_UUID_LEN) != 0;
	if (size > IMG_SIZE_MAX - SECTOR_LEN)
		return err_damaged(e, "%s: VDI header: a disk of %llu bytes",
		    name, (unsigned long long)size);
	/* Others make disks of any number of bytes. */
	h->size = round_up(size, SECTOR_LEN);
	if (check_block(h, le32(buf + VDI_F_SECTOR_LEN), name, e))
		return -1;
	return check_places(h, file_len, name, e);
}

int vdi_header_update(struct image *img, struct err *e)
{
	struct vdi *v = vdi_of(img);
	const struct vdi_header *h = &v->h;
	uint8_t *p;

	if (tables_change(v->f.tables, v->head, e))
		return -1;
	p = v->head->data;
	put_le32(p + VDI_F_MAP_HOST, (uint32_t)h->map_host);
	put_le32(p + VDI_F_DATA_HOST, (uint32_t)h->data_host);
	put_le64(p + VDI_F_SIZE, h->size);
	put_le32(p + VDI_F_BLOCK_N, h->block_n);
	put_le32(p + VDI_F_USED_N, h->used_n);
	memcpy(p + VDI_F_UUID_CHANGED, h->changed, VDI_UUID_LEN);
	memcpy(p + VDI_F_UUID_PARENT_CHANGED, h->parent_changed, VDI_UUID_LEN);
	return 0;
}
