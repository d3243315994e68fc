/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Changing tables through the log.
 *
 *   sync             the data, and what the last entry changed in its place
 *   write the entry  in the half of the log where the last one is not
 *   sync             the change is durable
 *   header           when it is the first: from now on the log counts
 *   in their places  durable before the next entry is written
 *
 * Each entry is a sequence of its own: it is written when all before it are in
 * their places, and the last one stays whole until then.  An entry fits half of
 * the shortest log there is.
 */
#include <stdlib.h>

#include "vhdx.h"

#define ENTRY_HEAD_LEN 64u
#define DESC_LEN       32u

/* Where the next entry goes, in the log. */
static uint32_t next_off(const struct vhdx *q)
{
	return q->log_seq % 2 ? q->h.log_len / 2 : 0;
}

static void pack_sector(
    uint8_t *entry, size_t i, const struct vhdx_sector *s, uint64_t seq)
{
	uint8_t *desc = entry + ENTRY_HEAD_LEN + i * DESC_LEN;
	uint8_t *data = entry + (1 + i) * VHDX_SECTOR;

	memcpy(desc, "desc", 4);
	memcpy(desc + 4, s->data + VHDX_SECTOR - 4, 4);
	memcpy(desc + 8, s->data, 8);
	put_le64(desc + 16, s->host);
	put_le64(desc + 24, seq);
	memcpy(data, s->data, VHDX_SECTOR);
	memcpy(data, "data", 4);
	put_le32(data + 4, (uint32_t)(seq >> 32));
	put_le32(data + VHDX_SECTOR - 4, (uint32_t)seq);
}

/* file_len: all of the file is on disk, up to there. */
static uint8_t *pack_entry(const struct vhdx *q,
    const struct vhdx_sector *sector, size_t n, uint64_t file_len,
    struct err *e)
{
	uint32_t len = (uint32_t)(1 + n) * VHDX_SECTOR;
	uint8_t *entry = calloc(1, len);

	if (!entry) {
		err_nomem(e);
		return NULL;
	}
	memcpy(entry, "loge", 4);
	put_le32(entry + 8, len);
	put_le32(entry + 12, next_off(q));
	put_le64(entry + 16, q->log_seq);
	put_le32(entry + 24, (uint32_t)n);
	memcpy(entry + 32, &q->log_guid, 16);
	put_le64(entry + 48, file_len);
	put_le64(entry + 56, file_len);
	for (size_t i = 0; i < n; i++)
		pack_sector(entry, i, &sector[i], q->log_seq);
	put_le32(entry + 4, vhdx_sum(entry, len));
	return entry;
}

/* Durable, and the headers say so. */
static int write_entry(struct image *img, const struct vhdx_sector *sector,
    size_t n, struct err *e)
{
	struct vhdx *q = vhdx_of(img);
	CLEANUP_FREE uint8_t *entry = NULL;
	bool first = vhdx_guid_is_zero(&q->log_guid);

	if (host_sync(img->file, e))
		return -1;
	if (first && (vhdx_guid_new(&q->log_guid, e) ||
			 vhdx_guid_new(&q->h.file_write, e)))
		return -1;
	q->log_seq++;
	entry = pack_entry(q, sector, n, host_size(img->file), e);
	if (!entry ||
	    host_pwrite(img->file, entry, (1 + n) * VHDX_SECTOR,
		q->h.log_host + next_off(q), e) ||
	    host_sync(img->file, e))
		return -1;
	if (!first)
		return 0;
	q->h.log_guid = q->log_guid;
	return vhdx_header_write(img->file, &q->h, e);
}

int vhdx_log_write(struct image *img, const struct vhdx_sector *sector,
    size_t n, struct err *e)
{
	if (write_entry(img, sector, n, e))
		return -1;
	for (size_t i = 0; i < n; i++)
		if (host_pwrite(img->file, sector[i].data, VHDX_SECTOR,
			sector[i].host, e))
			return -1;
	return 0;
}

int vhdx_log_end(struct image *img, struct err *e)
{
	struct vhdx *q = vhdx_of(img);

	if (vhdx_guid_is_zero(&q->h.log_guid))
		return 0;
	if (host_sync(img->file, e))
		return -1;
	q->h.log_guid = q->log_guid = (struct vhdx_guid){0};
	return vhdx_header_write(img->file, &q->h, e);
}
