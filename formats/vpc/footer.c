/* SPDX-License-Identifier: BSD-3-Clause */
/* The footer and the dynamic header of a VHD: see vpc.h. */
#include <errno.h>
#include <inttypes.h>
#include <time.h>

#include "../crypto/hash.h"
#include "vpc.h"

#define EPOCH_2000	946684800
#define FEATURES	2u /* a bit that is always set */
#define FILE_VERSION	0x00010000u
#define CREATOR_VERSION 0x00050003u
#define CHECKSUM_AT	64u /* in the footer */
#define HEADER_SUM_AT	36u

static const char footer_cookie[8] = "conectix", header_cookie[8] = "cxsparse";

/* One's complement of the sum of the bytes, without the checksum itself. */
static uint32_t checksum(const uint8_t *p, size_t len, size_t at)
{
	uint32_t sum = 0;

	for (size_t i = 0; i < len; i++)
		if (i < at || i >= at + 4)
			sum += p[i];
	return ~sum;
}

/* ---- geometry --------------------------------------------------------- */

struct vpc_geometry vpc_geometry(uint64_t sectors)
{
	uint32_t per_track, heads, tracks;

	if (!sectors)
		return (struct vpc_geometry){0};
	sectors = min_u64(sectors, VPC_CHS_MAX);
	if (sectors >= 65535ull * 16 * 63) {
		per_track = 255;
		heads = 16;
	} else {
		per_track = 17;
		tracks = (uint32_t)(sectors / per_track);
		heads = (uint32_t)max_u64((tracks + 1023) / 1024, 4);
		if (tracks >= heads * 1024 || heads > 16) {
			per_track = 31;
			heads = 16;
			tracks = (uint32_t)(sectors / per_track);
		}
		if (tracks >= heads * 1024) {
			per_track = 63;
			heads = 16;
		}
	}
	tracks = (uint32_t)(sectors / per_track);
	return (struct vpc_geometry){.cylinders = (uint16_t)(tracks / heads),
	    .heads = (uint8_t)heads,
	    .sectors = (uint8_t)per_track};
}

/* Virtual PC and QEMU go by the geometry, unless it is the largest there is. */
static bool goes_by_chs(const struct vpc_footer *f)
{
	if (vpc_chs_sectors(f->chs) >= VPC_CHS_MAX)
		return false;
	return !memcmp(f->creator, "vpc ", 4) || !memcmp(f->creator, "qemu", 4);
}

void vpc_set_size(struct vpc_footer *f, uint64_t size)
{
	f->size = size;
	f->chs = (struct vpc_geometry){
	    .cylinders = 65535, .heads = 16, .sectors = 255};
	memcpy(f->creator, "qem2", 4);
}

uint64_t vpc_disk_size(const struct vpc_footer *f)
{
	return goes_by_chs(f) ? vpc_chs_sectors(f->chs) * SECTOR_LEN : f->size;
}

/* ---- the footer ------------------------------------------------------- */

bool vpc_footer_ok(const uint8_t *p)
{
	return !memcmp(p, footer_cookie, sizeof footer_cookie) &&
	       be32(p + CHECKSUM_AT) ==
		   checksum(p, VPC_FOOTER_LEN, CHECKSUM_AT);
}

void vpc_footer_unpack(const uint8_t *p, struct vpc_footer *f)
{
	*f = (struct vpc_footer){
	    .header_host = be64(p + 16),
	    .timestamp = be32(p + 24),
	    .original_size = be64(p + 40),
	    .size = be64(p + 48),
	    .chs = {.cylinders = be16(p + 56),
		.heads = p[58],
		.sectors = p[59]},
	    .type = (enum vpc_type)be32(p + 60),
	};
	memcpy(f->creator, p + 28, 4);
	memcpy(f->id, p + 68, 16);
}

/*
 * The end of a file is its user's, in a raw disk or in the last block of a
 * dynamic one, and could look like a footer: so it has to fit the file.
 */
bool vpc_ends_fixed(const uint8_t *tail, uint64_t file_len)
{
	struct vpc_footer f;

	if (!vpc_footer_ok(tail))
		return false;
	vpc_footer_unpack(tail, &f);
	return f.type == VPC_FIXED && f.header_host == VPC_NO_OFFSET &&
	       f.size == file_len - VPC_FOOTER_LEN;
}

void vpc_footer_pack(uint8_t *p, const struct vpc_footer *f)
{
	memset(p, 0, VPC_FOOTER_LEN);
	memcpy(p, footer_cookie, sizeof footer_cookie);
	put_be32(p + 8, FEATURES);
	put_be32(p + 12, FILE_VERSION);
	put_be64(p + 16, f->header_host);
	put_be32(p + 24, f->timestamp);
	memcpy(p + 28, f->creator, 4);
	put_be32(p + 32, CREATOR_VERSION);
	memcpy(p + 36, "Wi2k", 4);
	put_be64(p + 40, f->original_size);
	put_be64(p + 48, f->size);
	put_be16(p + 56, f->chs.cylinders);
	p[58] = f->chs.heads;
	p[59] = f->chs.sectors;
	put_be32(p + 60, f->type);
	memcpy(p + 68, f->id, 16);
	put_be32(p + CHECKSUM_AT, checksum(p, VPC_FOOTER_LEN, CHECKSUM_AT));
}

static int check_footer(
    struct hostfile *f, const struct vpc_footer *x, struct err *e)
{
	if (x->type < VPC_FIXED || x->type > VPC_DIFF)
		return err_unsupported(e,
		    "%s: VHD disk type %u: known are 2 (fixed), 3 (dynamic) "
		    "and 4 (differencing)",
		    f->name, (unsigned)x->type);
	if (!is_aligned(x->size, SECTOR_LEN) ||
	    vpc_disk_size(x) / SECTOR_LEN > UINT32_MAX)
		return err_damaged(e,
		    "%s: VHD disk of %" PRIu64
		    " bytes: allowed are whole sectors up to 2 TiB",
		    f->name, x->size);
	if (x->type == VPC_FIXED &&
	    vpc_disk_size(x) + VPC_FOOTER_LEN > host_size(f))
		return err_damaged(e,
		    "%s: fixed VHD disk of %" PRIu64
		    " bytes in a file of %" PRIu64,
		    f->name, vpc_disk_size(x), host_size(f));
	return 0;
}

static bool is_footer(const uint8_t *p)
{
	return !memcmp(p, footer_cookie, sizeof footer_cookie);
}

int vpc_footer_read(struct hostfile *f, struct vpc_footer *out, struct err *e)
{
	uint8_t head[VPC_FOOTER_LEN], tail[VPC_FOOTER_LEN];
	uint64_t len = host_size(f);
	const uint8_t *p = head;

	if (len < VPC_FOOTER_LEN)
		return err_set(e, ERR_NOT_FORMAT, EINVAL,
		    "invalid VPC image: %s has %" PRIu64 " bytes", f->name,
		    len);
	if (host_pread(f, head, sizeof head, 0, e) ||
	    host_pread(f, tail, sizeof tail, len - VPC_FOOTER_LEN, e))
		return -1;
	/* The data of a fixed disk may begin like a footer. */
	if (!vpc_footer_ok(head) || vpc_ends_fixed(tail, len))
		p = tail;
	if (!is_footer(head) && !is_footer(tail))
		return err_set(e, ERR_NOT_FORMAT, EINVAL, "invalid VPC image");
	if (!vpc_footer_ok(p))
		return err_damaged(
		    e, "%s: the checksum of the VHD footer is wrong", f->name);
	vpc_footer_unpack(p, out);
	return check_footer(f, out, e);
}

/* ---- the dynamic header ----------------------------------------------- */

/* Of a dynamic header at `host`. */
static int check_header(struct hostfile *f, uint64_t host,
    const struct vpc_header *h, struct err *e)
{
	uint64_t bat_end;

	if (!is_pow2(h->block_len) || h->block_len < SECTOR_LEN)
		return err_damaged(e,
		    "%s: VHD block size %" PRIu32
		    ": allowed are powers of two from 512",
		    f->name, h->block_len);
	if (!is_aligned(h->bat_host, SECTOR_LEN) ||
	    !range_ok(h->bat_host, 4ull * h->bat_n, host_size(f)))
		return err_damaged(e,
		    "%s: VHD allocation table of %" PRIu32
		    " entries at %#" PRIx64 " is not in the file of %" PRIu64
		    " bytes",
		    f->name, h->bat_n, h->bat_host, host_size(f));
	bat_end = h->bat_host + 4ull * h->bat_n;
	if (h->bat_host < VPC_FOOTER_LEN ||
	    (h->bat_host < host + VPC_HEADER_LEN && bat_end > host))
		return err_damaged(e,
		    "%s: VHD allocation table at %#" PRIx64
		    " lies on the footer or on the dynamic header at %#" PRIx64,
		    f->name, h->bat_host, host);
	return 0;
}

static void unpack_header(const uint8_t *p, struct vpc_header *h)
{
	*h = (struct vpc_header){
	    .bat_host = be64(p + 16),
	    .bat_n = be32(p + 28),
	    .block_len = be32(p + 32),
	    .parent_timestamp = be32(p + 56),
	};
	memcpy(h->parent_id, p + 40, 16);
	memcpy(h->parent_name, p + 64, sizeof h->parent_name);
	for (unsigned i = 0; i < VPC_LOCATORS; i++) {
		const uint8_t *l = p + 576 + 24 * i;

		h->locator[i] = (struct vpc_locator){.code = be32(l),
		    .space_len = be32(l + 4),
		    .len = be32(l + 8),
		    .host = be64(l + 16)};
	}
}

int vpc_header_read(
    struct hostfile *f, uint64_t host, struct vpc_header *h, struct err *e)
{
	uint8_t p[VPC_HEADER_LEN];

	if (host < VPC_FOOTER_LEN || !range_ok(host, sizeof p, host_size(f)))
		return err_damaged(e,
		    "%s: the dynamic header of the VHD at %#" PRIx64
		    " is not behind the footer in the file of %" PRIu64
		    " bytes",
		    f->name, host, host_size(f));
	if (host_pread(f, p, sizeof p, host, e))
		return -1;
	if (memcmp(p, header_cookie, sizeof header_cookie))
		return err_damaged(e,
		    "%s: no dynamic header of a VHD at %#" PRIx64, f->name,
		    host);
	if (be32(p + HEADER_SUM_AT) != checksum(p, sizeof p, HEADER_SUM_AT))
		return err_damaged(e,
		    "%s: the checksum of the dynamic VHD header is wrong",
		    f->name);
	unpack_header(p, h);
	return check_header(f, host, h, e);
}

void vpc_header_pack(uint8_t *p, const struct vpc_header *h)
{
	memset(p, 0, VPC_HEADER_LEN);
	memcpy(p, header_cookie, sizeof header_cookie);
	put_be64(p + 8, VPC_NO_OFFSET);
	put_be64(p + 16, h->bat_host);
	put_be32(p + 24, FILE_VERSION);
	put_be32(p + 28, h->bat_n);
	put_be32(p + 32, h->block_len);
	memcpy(p + 40, h->parent_id, 16);
	put_be32(p + 56, h->parent_timestamp);
	memcpy(p + 64, h->parent_name, sizeof h->parent_name);
	for (unsigned i = 0; i < VPC_LOCATORS; i++) {
		uint8_t *l = p + 576 + 24 * i;

		put_be32(l, h->locator[i].code);
		put_be32(l + 4, h->locator[i].space_len);
		put_be32(l + 8, h->locator[i].len);
		put_be64(l + 16, h->locator[i].host);
	}
	put_be32(p + HEADER_SUM_AT, checksum(p, VPC_HEADER_LEN, HEADER_SUM_AT));
}

/* ---- odds and ends ---------------------------------------------------- */

uint32_t vpc_timestamp(void)
{
	return (uint32_t)(time(NULL) - EPOCH_2000);
}

int vpc_new_id(uint8_t id[16], struct err *e)
{
	if (random_bytes(id, 16, e))
		return -1;
	id[6] = (id[6] & 0x0f) | 0x40; /* RFC 4122, version 4 */
	id[8] = (id[8] & 0x3f) | 0x80;
	return 0;
}
