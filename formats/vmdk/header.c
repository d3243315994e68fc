/* SPDX-License-Identifier: BSD-3-Clause */
/* The header of a hosted sparse extent, in its own sector: see vmdk.h. */
#include <errno.h>

#include "vmdk.h"

/* Bytes that a transfer as text would have changed. */
static const uint8_t newlines[4] = {'\n', ' ', '\r', '\n'};

int vmdk_header_unpack(
    struct vmdk_header *h, const uint8_t *buf, const char *name, struct err *e)
{
	if (le32(buf) != VMDK_MAGIC)
		return err_set(e, ERR_NOT_FORMAT, EINVAL,
		    "%s: sparse extent: it has no KDMV header", name);
	*h = (struct vmdk_header){
	    .version = le32(buf + 4),
	    .flags = le32(buf + 8),
	    .capacity = le64(buf + 12),
	    .grain = le64(buf + 20),
	    .desc = le64(buf + 28),
	    .desc_n = le64(buf + 36),
	    .gt_n = le32(buf + 44),
	    .rgd = le64(buf + 48),
	    .gd = le64(buf + 56),
	    .overhead = le64(buf + 64),
	    .unclean = buf[72],
	    .compression = le16(buf + 77),
	};
	if (h->flags & VMDK_F_NEWLINES &&
	    memcmp(buf + 73, newlines, sizeof newlines))
		return err_damaged(e,
		    "%s: sparse header: its line ends were changed by a "
		    "transfer as text",
		    name);
	return 0;
}

void vmdk_header_pack(const struct vmdk_header *h, uint8_t buf[SECTOR_LEN])
{
	memset(buf, 0, SECTOR_LEN);
	put_le32(buf, VMDK_MAGIC);
	put_le32(buf + 4, h->version);
	put_le32(buf + 8, h->flags);
	put_le64(buf + 12, h->capacity);
	put_le64(buf + 20, h->grain);
	put_le64(buf + 28, h->desc);
	put_le64(buf + 36, h->desc_n);
	put_le32(buf + 44, h->gt_n);
	put_le64(buf + 48, h->rgd);
	put_le64(buf + 56, h->gd);
	put_le64(buf + 64, h->overhead);
	buf[72] = h->unclean;
	memcpy(buf + 73, newlines, sizeof newlines);
	put_le16(buf + 77, h->compression);
}

int vmdk_header_write(
    struct hostfile *f, const struct vmdk_header *h, struct err *e)
{
	uint8_t buf[SECTOR_LEN];

	vmdk_header_pack(h, buf);
	return host_pwrite(f, buf, sizeof buf, 0, e);
}
