/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The region table of a VHDX image, in two copies: where the BAT and the
 * metadata are, and other regions, which are left alone.
 */
#include <errno.h>
#include <stdlib.h>

#include "vhdx.h"

#define HEAD_LEN  16u
#define ENTRY_LEN 32u

static const uint8_t magic[4] = {'r', 'e', 'g', 'i'};
static const struct vhdx_guid bat_guid = {{0x66, 0x77, 0xc2, 0x2d, 0x23, 0xf6,
    0x00, 0x42, 0x9d, 0x64, 0x11, 0x5e, 0x9b, 0xfd, 0x4a, 0x08}};
static const struct vhdx_guid meta_guid = {{0x06, 0xa2, 0x7c, 0x8b, 0x90, 0x47,
    0x9a, 0x4b, 0xb8, 0xfe, 0x57, 0x5f, 0x05, 0x0f, 0x88, 0x6e}};

const char *vhdx_regions_fault(uint8_t table[VHDX_TABLE_LEN])
{
	if (memcmp(table, magic, sizeof magic))
		return "has no signature";
	if (le32(table + 4) != vhdx_sum(table, VHDX_TABLE_LEN))
		return "has a wrong checksum";
	if (le32(table + 8) > VHDX_ENTRY_MAX)
		return "has more than 2047 entries";
	return NULL;
}

static int check_region(
    struct hostfile *f, const struct vhdx_region *r, struct err *e)
{
	if (is_aligned(r->host, VHDX_UNIT) && is_aligned(r->len, VHDX_UNIT) &&
	    r->host >= VHDX_UNIT && r->len &&
	    range_ok(r->host, r->len, host_size(f)))
		return 0;
	return err_damaged(e,
	    "%s: VHDX region table: a region of %u bytes at %#llx; both must "
	    "be multiples of 1 MiB, and it must be in the file of %llu bytes",
	    f->name, r->len, (unsigned long long)r->host,
	    (unsigned long long)host_size(f));
}

static int one_region(struct hostfile *f, const uint8_t *entry,
    struct vhdx_region *bat, struct vhdx_region *meta, vhdx_region_fn *fn,
    void *arg, struct err *e)
{
	const struct vhdx_region r = {
	    .host = le64(entry + 16), .len = le32(entry + 24)};
	struct vhdx_region *known = NULL;
	char text[VHDX_GUID_TEXT];
	struct vhdx_guid guid;

	memcpy(&guid, entry, sizeof guid);
	if (vhdx_guid_same(&guid, &bat_guid))
		known = bat;
	else if (vhdx_guid_same(&guid, &meta_guid))
		known = meta;
	vhdx_guid_text(&guid, text);
	if (!known && (le32(entry + 28) & 1))
		return err_unsupported(e,
		    "%s: VHDX region %s is required, and unknown", f->name,
		    text);
	if (known && known->len)
		return err_damaged(
		    e, "%s: VHDX region %s is there twice", f->name, text);
	if (check_region(f, &r, e))
		return -1;
	if (known)
		*known = r;
	return fn ? fn(arg, &r, e) : 0;
}

/* The first copy that is valid. */
static int read_table(struct hostfile *f, uint8_t *table, struct err *e)
{
	const char *fault[2];

	for (unsigned i = 0; i < 2; i++) {
		if (host_pread(f, table, VHDX_TABLE_LEN,
			VHDX_REGION_HOST + i * VHDX_TABLE_LEN, e))
			return -1;
		fault[i] = vhdx_regions_fault(table);
		if (!fault[i])
			return 0;
	}
	return err_damaged(e,
	    "%s: the VHDX region table at 192 KiB %s, its copy at 256 KiB %s",
	    f->name, fault[0], fault[1]);
}

int vhdx_regions_read(struct hostfile *f, struct vhdx_region *bat,
    struct vhdx_region *meta, vhdx_region_fn *fn, void *arg, struct err *e)
{
	CLEANUP_FREE uint8_t *table = malloc(VHDX_TABLE_LEN);

	*bat = *meta = (struct vhdx_region){0};
	if (!table)
		return err_nomem(e);
	if (read_table(f, table, e))
		return -1;
	for (uint32_t i = 0; i < le32(table + 8); i++)
		if (one_region(f, table + HEAD_LEN + i * ENTRY_LEN, bat, meta,
			fn, arg, e))
			return -1;
	if (bat->len && meta->len)
		return 0;
	return err_damaged(e, "%s: VHDX region table: no %s region", f->name,
	    bat->len ? "metadata" : "BAT");
}

static void put_entry(uint8_t *table, unsigned i, const struct vhdx_guid *guid,
    const struct vhdx_region *r)
{
	uint8_t *entry = table + HEAD_LEN + (size_t)i * ENTRY_LEN;

	memcpy(entry, guid, sizeof *guid);
	put_le64(entry + 16, r->host);
	put_le32(entry + 24, r->len);
	put_le32(entry + 28, 1); /* required */
}

void vhdx_regions_pack(uint8_t table[VHDX_TABLE_LEN],
    const struct vhdx_region *bat, const struct vhdx_region *meta)
{
	memset(table, 0, VHDX_TABLE_LEN);
	memcpy(table, magic, sizeof magic);
	put_le32(table + 8, 2);
	put_entry(table, 0, &bat_guid, bat);
	put_entry(table, 1, &meta_guid, meta);
	put_le32(table + 4, vhdx_sum(table, VHDX_TABLE_LEN));
}

void vhdx_regions_move_bat(
    uint8_t table[VHDX_TABLE_LEN], const struct vhdx_region *bat)
{
	for (uint32_t i = 0; i < le32(table + 8); i++)
		if (!memcmp(table + HEAD_LEN + i * ENTRY_LEN, &bat_guid,
			sizeof bat_guid))
			put_entry(table, i, &bat_guid, bat);
	put_le32(table + 4, vhdx_sum(table, VHDX_TABLE_LEN));
}
