/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The two headers of a VHDX image.  The valid one with the higher number
 * counts; a change goes to the other one, so a torn write leaves the old one.
 */
#include <errno.h>

#include "vhdx.h"

static const uint8_t magic[4] = {'h', 'e', 'a', 'd'};

static uint64_t slot_host(unsigned slot)
{
	return (slot + 1) * 64 * KiB;
}

static bool unpack(uint8_t *buf, struct vhdx_header *h)
{
	if (memcmp(buf, magic, sizeof magic) ||
	    le32(buf + 4) != vhdx_sum(buf, VHDX_HEADER_LEN))
		return false;
	h->seq = le64(buf + 8);
	memcpy(&h->file_write, buf + 16, 16);
	memcpy(&h->data_write, buf + 32, 16);
	memcpy(&h->log_guid, buf + 48, 16);
	h->log_len = le32(buf + 68);
	h->log_host = le64(buf + 72);
	return true;
}

static int check_versions(struct hostfile *f, const uint8_t *buf, struct err *e)
{
	unsigned log_version = le16(buf + 64), version = le16(buf + 66);

	if (version != 1)
		return err_unsupported(e,
		    "%s: VHDX header: version %u, only 1 is supported", f->name,
		    version);
	if (log_version)
		return err_unsupported(e,
		    "%s: VHDX header: log version %u, only 0 is supported",
		    f->name, log_version);
	return 0;
}

static int check_log(
    struct hostfile *f, const struct vhdx_header *h, struct err *e)
{
	if (is_aligned(h->log_host, VHDX_UNIT) &&
	    is_aligned(h->log_len, VHDX_UNIT) && h->log_host >= VHDX_UNIT &&
	    h->log_len && range_ok(h->log_host, h->log_len, INT64_MAX))
		return 0;
	return err_damaged(e,
	    "%s: VHDX header: a log of %u bytes at %#llx; both must be "
	    "multiples of 1 MiB, and not 0",
	    f->name, h->log_len, (unsigned long long)h->log_host);
}

int vhdx_header_read(struct hostfile *f, struct vhdx_header *h, struct err *e)
{
	uint8_t buf[2][VHDX_HEADER_LEN];
	struct vhdx_header both[2] = {0};
	bool ok[2];
	unsigned slot;

	for (unsigned i = 0; i < 2; i++) {
		if (host_pread(f, buf[i], sizeof buf[i], slot_host(i), e))
			return -1;
		ok[i] = unpack(buf[i], &both[i]);
	}
	if (!ok[0] && !ok[1])
		return err_damaged(e, "%s: no valid VHDX header", f->name);
	if (ok[0] && ok[1] && both[0].seq == both[1].seq &&
	    memcmp(buf[0], buf[1], VHDX_HEADER_LEN))
		return err_damaged(e,
		    "%s: two VHDX headers with the number %llu", f->name,
		    (unsigned long long)both[0].seq);
	slot = ok[1] && (!ok[0] || both[1].seq > both[0].seq);
	*h = both[slot];
	h->slot = slot;
	h->spare_ok = ok[0] && ok[1];
	return check_versions(f, buf[slot], e) || check_log(f, h, e) ? -1 : 0;
}

int vhdx_header_put(struct hostfile *f, struct vhdx_header *h, struct err *e)
{
	uint8_t buf[VHDX_HEADER_LEN] = {0};

	memcpy(buf, magic, sizeof magic);
	put_le64(buf + 8, h->seq + 1);
	memcpy(buf + 16, &h->file_write, 16);
	memcpy(buf + 32, &h->data_write, 16);
	memcpy(buf + 48, &h->log_guid, 16);
	put_le16(buf + 66, 1);
	put_le32(buf + 68, h->log_len);
	put_le64(buf + 72, h->log_host);
	put_le32(buf + 4, vhdx_sum(buf, sizeof buf));
	if (host_pwrite(f, buf, sizeof buf, slot_host(1 - h->slot), e))
		return -1;
	h->slot = 1 - h->slot;
	h->seq++;
	h->spare_ok = true;
	return 0;
}

int vhdx_header_write(struct hostfile *f, struct vhdx_header *h, struct err *e)
{
	struct vhdx_header next = *h;

	if (vhdx_header_put(f, &next, e) || host_sync(f, e))
		return -1;
	*h = next;
	return 0;
}
