/* SPDX-License-Identifier: BSD-3-Clause */
/* The header of Parallels images: see parallels.h. */
#include <errno.h>

#include "parallels.h"

static int check_kind(
    const uint8_t *buf, const char *name, bool *old, struct err *e)
{
	*old = !memcmp(buf, PARALLELS_MAGIC_OLD, PARALLELS_MAGIC_LEN);
	if (!*old && memcmp(buf, PARALLELS_MAGIC, PARALLELS_MAGIC_LEN) != 0)
		return err_set(
		    e, ERR_NOT_FORMAT, EINVAL, "Image not in Parallels format");
	if (le32(buf + PARALLELS_F_VERSION) != PARALLELS_VERSION)
		return err_unsupported(e,
		    "%s: Parallels header: version %u is not 2", name,
		    le32(buf + PARALLELS_F_VERSION));
	return 0;
}

static int read_cluster(const uint8_t *buf, const char *name,
    struct parallels_header *h, struct err *e)
{
	uint32_t sectors = le32(buf + PARALLELS_F_CLUSTER);

	if (!sectors)
		return err_damaged(e, "Invalid image: Zero sectors per track");
	if (sectors > PARALLELS_CLUSTER_MAX / SECTOR_LEN)
		return err_unsupported(e,
		    "%s: Parallels header: clusters of %u sectors are too "
		    "large: at most %llu",
		    name, sectors, PARALLELS_CLUSTER_MAX / SECTOR_LEN);
	h->cluster_len = sectors * SECTOR_LEN;
	return 0;
}

static int check_size(const struct parallels_header *h, uint64_t sectors,
    const char *name, struct err *e)
{
	if (sectors > IMG_SIZE_MAX / SECTOR_LEN ||
	    div_up(sectors * SECTOR_LEN, h->cluster_len) > h->block_n)
		return err_damaged(e,
		    "%s: Parallels header: a disk of %llu sectors does not fit "
		    "in %u clusters of %u bytes",
		    name, (unsigned long long)sectors, h->block_n,
		    h->cluster_len);
	return 0;
}

/* Where clusters begin; for new ones, where they can be named. */
static int read_data(const uint8_t *buf, uint64_t file_len, const char *name,
    struct parallels_header *h, struct err *e)
{
	uint64_t bat_end = PARALLELS_HEADER_LEN + 4ull * h->block_n;
	uint64_t given = (uint64_t)le32(buf + PARALLELS_F_DATA) * SECTOR_LEN;

	if (bat_end > file_len)
		return err_damaged(e,
		    "%s: Parallels header: a BAT of %u entries does not fit in "
		    "the file of %llu bytes",
		    name, h->block_n, (unsigned long long)file_len);
	h->data_given = given >= bat_end;
	h->data_host = h->data_given ? given : round_up(bat_end, SECTOR_LEN);
	if (!h->old)
		h->data_host = round_up(h->data_host, h->cluster_len);
	return 0;
}

int parallels_header_parse(const uint8_t *buf, uint64_t file_len,
    const char *name, struct parallels_header *h, struct err *e)
{
	uint64_t sectors = le64(buf + PARALLELS_F_SIZE), ext;

	*h = (struct parallels_header){0};
	if (check_kind(buf, name, &h->old, e) || read_cluster(buf, name, h, e))
		return -1;
	if (h->old)
		sectors &= UINT32_MAX;
	h->block_n = le32(buf + PARALLELS_F_BLOCK_N);
	if (check_size(h, sectors, name, e))
		return -1;
	h->size = sectors * SECTOR_LEN;
	h->in_use = le32(buf + PARALLELS_F_IN_USE) == PARALLELS_IN_USE;
	ext = le64(buf + PARALLELS_F_EXT);
	if (ext > IMG_SIZE_MAX / SECTOR_LEN)
		return err_damaged(e,
		    "%s: Parallels header: format extension at sector %llu",
		    name, (unsigned long long)ext);
	/* Who sets the field to zero knows nothing of extensions. */
	if (le32(buf + PARALLELS_F_IN_USE))
		h->ext_host = ext * SECTOR_LEN;
	return read_data(buf, file_len, name, h, e);
}

void parallels_header_pack(const struct parallels_header *h, uint8_t *buf)
{
	uint64_t sectors = h->size / SECTOR_LEN;
	uint32_t closed;

	memcpy(buf, h->old ? PARALLELS_MAGIC_OLD : PARALLELS_MAGIC,
	    PARALLELS_MAGIC_LEN);
	put_le32(buf + PARALLELS_F_VERSION, PARALLELS_VERSION);
	put_le32(buf + PARALLELS_F_HEADS, 16);
	put_le32(buf + PARALLELS_F_CYLINDERS,
	    (uint32_t)min_u64(sectors / 16 / 32, UINT32_MAX));
	put_le32(buf + PARALLELS_F_CLUSTER, h->cluster_len / SECTOR_LEN);
	put_le32(buf + PARALLELS_F_BLOCK_N, h->block_n);
	put_le64(buf + PARALLELS_F_SIZE, sectors);
	/* A zero makes the extension void. */
	closed = h->ext_host ? PARALLELS_CLOSED : 0;
	put_le32(
	    buf + PARALLELS_F_IN_USE, h->in_use ? PARALLELS_IN_USE : closed);
	put_le32(buf + PARALLELS_F_DATA,
	    h->data_given ? (uint32_t)(h->data_host / SECTOR_LEN) : 0);
	put_le32(buf + PARALLELS_F_FLAGS, 0);
	put_le64(buf + PARALLELS_F_EXT, h->ext_host / SECTOR_LEN);
}

/* What we do not change, as the geometry, stays as it is in the file. */
int parallels_header_write(struct image *img, struct err *e)
{
	const struct parallels_header *h = &parallels_of(img)->h;
	uint8_t buf[PARALLELS_HEADER_LEN], was[PARALLELS_HEADER_LEN];

	if (host_pread(img->file, was, sizeof was, 0, e))
		return -1;
	memcpy(buf, was, sizeof buf);
	parallels_header_pack(h, buf);
	if (le64(was + PARALLELS_F_SIZE) == le64(buf + PARALLELS_F_SIZE))
		memcpy(buf + PARALLELS_F_HEADS, was + PARALLELS_F_HEADS, 8);
	if (host_pwrite(img->file, buf, sizeof buf, 0, e))
		return -1;
	return host_sync(img->file, e);
}
