/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The metadata region of a VHDX image: a table of items, and the items, each
 * at an offset of the region behind the table.
 */
#include <errno.h>
#include <stdlib.h>

#include "vhdx.h"

#define HEAD_LEN  32u
#define ENTRY_LEN 32u
#define ITEM_MAX  MiB
#define REQUIRED  4u
#define DISK	  2u /* of the disk, not of the file */

#define PARAMS_KEEP   1u
#define PARAMS_PARENT 2u

static const uint8_t magic[8] = {'m', 'e', 't', 'a', 'd', 'a', 't', 'a'};

enum item {
	ITEM_PARAMS,
	ITEM_SIZE,
	ITEM_ID,
	ITEM_SECTOR,
	ITEM_PHYSICAL,
	ITEM_LOCATOR,
	ITEM_N
};
static const struct {
	struct vhdx_guid guid;
	uint32_t least, most; /* bytes */
	uint32_t flags;
	const char *name;
} known[ITEM_N] = {
    [ITEM_PARAMS] = {{{0x37, 0x67, 0xa1, 0xca, 0x36, 0xfa, 0x43, 0x4d, 0xb3,
			 0xb6, 0x33, 0xf0, 0xaa, 0x44, 0xe7, 0x6b}},
	8, 8, REQUIRED, "file parameters"},
    [ITEM_SIZE] = {{{0x24, 0x42, 0xa5, 0x2f, 0x1b, 0xcd, 0x76, 0x48, 0xb2, 0x11,
		       0x5d, 0xbe, 0xd8, 0x3b, 0xf4, 0xb8}},
	8, 8, REQUIRED | DISK, "virtual disk size"},
    [ITEM_ID] = {{{0xab, 0x12, 0xca, 0xbe, 0xe6, 0xb2, 0x23, 0x45, 0x93, 0xef,
		     0xc3, 0x09, 0xe0, 0x00, 0xc7, 0x46}},
	16, 16, REQUIRED | DISK, "virtual disk ID"},
    [ITEM_SECTOR] = {{{0x1d, 0xbf, 0x41, 0x81, 0x6f, 0xa9, 0x09, 0x47, 0xba,
			 0x47, 0xf2, 0x33, 0xa8, 0xfa, 0xab, 0x5f}},
	4, 4, REQUIRED | DISK, "logical sector size"},
    [ITEM_PHYSICAL] = {{{0xc7, 0x48, 0xa3, 0xcd, 0x5d, 0x44, 0x71, 0x44, 0x9c,
			   0xc9, 0xe9, 0x88, 0x52, 0x51, 0xc5, 0x56}},
	4, 4, REQUIRED | DISK, "physical sector size"},
    [ITEM_LOCATOR] = {{{0x2d, 0x5f, 0xd3, 0xa8, 0x0b, 0xb3, 0x4d, 0x45, 0xab,
			  0xf7, 0xd3, 0xd8, 0x48, 0x34, 0xab, 0x0c}},
	20, VHDX_LOCATOR_MAX, REQUIRED, "parent locator"},
};

/* An item of the table; guid does not say which. */
struct place {
	uint32_t off, len; /* in the region */
};

struct reader {
	struct hostfile *f;
	const struct vhdx_region *r;
	struct place at[ITEM_N]; /* len 0: not there */
};

/* ---- the table --------------------------------------------------------------
 */

static uint8_t *entry_of(uint8_t *table, unsigned i)
{
	return table + HEAD_LEN + (size_t)i * ENTRY_LEN;
}

static uint32_t entry_n(const uint8_t *table)
{
	return le16(table + 10);
}

static enum item which(const uint8_t *entry)
{
	enum item i = 0;

	while (i < ITEM_N && memcmp(entry, &known[i].guid, 16))
		i++;
	return i;
}

static int one_entry(struct reader *rd, const uint8_t *entry, struct err *e)
{
	const struct place at = {le32(entry + 16), le32(entry + 20)};
	enum item i = which(entry);

	if (i == ITEM_N && !(le32(entry + 24) & REQUIRED))
		return 0;
	if (i == ITEM_N) {
		char text[VHDX_GUID_TEXT];
		struct vhdx_guid guid;

		memcpy(&guid, entry, sizeof guid);
		vhdx_guid_text(&guid, text);
		return err_unsupported(e,
		    "%s: VHDX metadata item %s is required, and unknown",
		    rd->f->name, text);
	}
	if (rd->at[i].len)
		return err_damaged(e, "%s: VHDX metadata: two items: %s",
		    rd->f->name, known[i].name);
	if (at.len < known[i].least || at.len > known[i].most ||
	    at.off < VHDX_TABLE_LEN || !range_ok(at.off, at.len, rd->r->len))
		return err_damaged(e,
		    "%s: VHDX metadata: %s of %u bytes at %#x of the region: "
		    "allowed are %u to %u bytes between %#x and %#x",
		    rd->f->name, known[i].name, at.len, at.off, known[i].least,
		    known[i].most, VHDX_TABLE_LEN, rd->r->len);
	rd->at[i] = at;
	return 0;
}

static int read_table(struct reader *rd, struct err *e)
{
	CLEANUP_FREE uint8_t *table = malloc(VHDX_TABLE_LEN);

	if (!table)
		return err_nomem(e);
	if (host_pread(rd->f, table, VHDX_TABLE_LEN, rd->r->host, e))
		return -1;
	if (memcmp(table, magic, sizeof magic))
		return err_damaged(e,
		    "%s: VHDX metadata table at %#llx: no signature",
		    rd->f->name, (unsigned long long)rd->r->host);
	if (entry_n(table) > VHDX_ENTRY_MAX)
		return err_damaged(e,
		    "%s: VHDX metadata table at %#llx: %u entries, allowed "
		    "are %u",
		    rd->f->name, (unsigned long long)rd->r->host,
		    entry_n(table), VHDX_ENTRY_MAX);
	for (uint32_t i = 0; i < entry_n(table); i++)
		if (one_entry(rd, entry_of(table, i), e))
			return -1;
	return 0;
}

/* ---- the items --------------------------------------------------------------
 */

/* `item` has room for `most` bytes. */
static int read_item(
    const struct reader *rd, enum item i, uint8_t *item, struct err *e)
{
	if (!rd->at[i].len)
		return err_damaged(
		    e, "%s: VHDX metadata: no %s", rd->f->name, known[i].name);
	return host_pread(
	    rd->f, item, rd->at[i].len, rd->r->host + rd->at[i].off, e);
}

static int check_facts(
    struct hostfile *f, const struct vhdx_meta *m, struct err *e)
{
	if (!is_pow2(m->block_len) || m->block_len < VHDX_BLOCK_MIN ||
	    m->block_len > VHDX_BLOCK_MAX)
		return err_damaged(e,
		    "%s: VHDX block size %u: must be a power of two, 1 MiB to "
		    "256 MiB",
		    f->name, m->block_len);
	if (m->sector_len != 512 && m->sector_len != 4096)
		return err_damaged(e,
		    "%s: VHDX logical sector size %u: must be 512 or 4096",
		    f->name, m->sector_len);
	if (m->size > VHDX_SIZE_MAX || !is_aligned(m->size, m->sector_len))
		return err_damaged(e,
		    "%s: VHDX disk size %llu: must be whole sectors, at most "
		    "64 TiB",
		    f->name, (unsigned long long)m->size);
	return 0;
}

static int read_locator(
    const struct reader *rd, struct vhdx_meta *m, struct err *e)
{
	CLEANUP_FREE uint8_t *item = malloc(VHDX_LOCATOR_MAX);

	if (!item)
		return err_nomem(e);
	if (read_item(rd, ITEM_LOCATOR, item, e))
		return -1;
	if (!vhdx_locator_parse(&m->parent, item, rd->at[ITEM_LOCATOR].len, e))
		return 0;
	err_prefix(e, "%s: ", rd->f->name);
	return -1;
}

int vhdx_meta_read(struct hostfile *f, const struct vhdx_region *r,
    struct vhdx_meta *m, struct err *e)
{
	struct reader rd = {.f = f, .r = r};
	uint8_t params[8], size[8], sector[4];

	*m = (struct vhdx_meta){0};
	if (read_table(&rd, e) || read_item(&rd, ITEM_PARAMS, params, e) ||
	    read_item(&rd, ITEM_SIZE, size, e) ||
	    read_item(&rd, ITEM_SECTOR, sector, e))
		return -1;
	m->size = le64(size);
	m->size_host = r->host + rd.at[ITEM_SIZE].off;
	m->params_host = r->host + rd.at[ITEM_PARAMS].off;
	m->block_len = le32(params);
	m->keeps_blocks = params[4] & PARAMS_KEEP;
	m->has_parent = params[4] & PARAMS_PARENT;
	m->sector_len = le32(sector);
	if (check_facts(f, m, e))
		return -1;
	return m->has_parent ? read_locator(&rd, m, e) : 0;
}

void vhdx_meta_clear(struct vhdx_meta *m)
{
	vhdx_locator_clear(&m->parent);
}

/* ---- writing ----------------------------------------------------------------
 */

void vhdx_params_pack(uint8_t item[8], const struct vhdx_meta *m)
{
	put_le32(item, m->block_len);
	put_le32(item + 4, (m->keeps_blocks ? PARAMS_KEEP : 0) |
			       (m->has_parent ? PARAMS_PARENT : 0));
}

static void put_entry(uint8_t *entry, enum item i, uint32_t off, uint32_t len)
{
	memset(entry, 0, ENTRY_LEN);
	memcpy(entry, &known[i].guid, 16);
	put_le32(entry + 16, off);
	put_le32(entry + 20, len);
	put_le32(entry + 24, known[i].flags);
}

/* The small items, one after the other. */
static int pack_items(
    uint8_t *buf, const struct vhdx_meta *m, uint32_t *n, struct err *e)
{
	uint32_t off = VHDX_TABLE_LEN;
	struct vhdx_guid id;

	if (vhdx_guid_new(&id, e))
		return -1;
	memcpy(buf, magic, sizeof magic);
	for (enum item i = 0; i < ITEM_LOCATOR; i++) {
		uint8_t *item = buf + off;

		put_entry(entry_of(buf, i), i, off, known[i].most);
		off += known[i].most;
		if (i == ITEM_PARAMS)
			vhdx_params_pack(item, m);
		else if (i == ITEM_SIZE)
			put_le64(item, m->size);
		else if (i == ITEM_ID)
			memcpy(item, &id, sizeof id);
		else /* an emulated disk of 4096 bytes has 512, too */
			put_le32(item, i == ITEM_SECTOR ? m->sector_len : 4096);
	}
	*n = ITEM_LOCATOR;
	put_le16(buf + 10, (uint16_t)*n);
	return 0;
}

int vhdx_meta_write(struct hostfile *f, uint64_t host,
    const struct vhdx_meta *m, const uint8_t *locator, uint32_t locator_len,
    struct err *e)
{
	CLEANUP_FREE uint8_t *buf =
	    calloc(1, VHDX_TABLE_LEN + VHDX_SECTOR + VHDX_LOCATOR_MAX);
	uint32_t n, len = VHDX_TABLE_LEN + VHDX_SECTOR;

	if (!buf)
		return err_nomem(e);
	if (pack_items(buf, m, &n, e))
		return -1;
	if (locator) {
		put_entry(entry_of(buf, n), ITEM_LOCATOR, len, locator_len);
		put_le16(buf + 10, (uint16_t)(n + 1));
		memcpy(buf + len, locator, locator_len);
		len += locator_len;
	}
	return host_pwrite(f, buf, len, host, e);
}

/* Does [off, off + len) of the region meet an item? Then *off moves on. */
static bool in_the_way(uint8_t *table, uint32_t len, uint64_t *off)
{
	for (uint32_t i = 0; i < entry_n(table); i++) {
		const uint8_t *entry = entry_of(table, i);
		uint64_t at = le32(entry + 16);
		uint64_t end = at + le32(entry + 20);

		if (at < *off + len && *off < end) {
			*off = round_up(end, VHDX_SECTOR);
			return true;
		}
	}
	return false;
}

int vhdx_meta_set_locator(uint8_t table[VHDX_TABLE_LEN],
    const struct vhdx_region *r, uint32_t len, uint32_t *off, struct err *e)
{
	uint64_t at = VHDX_TABLE_LEN;
	uint32_t n = entry_n(table), i = 0;

	while (len && in_the_way(table, len, &at))
		continue;
	while (i < n && which(entry_of(table, i)) != ITEM_LOCATOR)
		i++;
	if (!range_ok(at, len, r->len) || i == VHDX_ENTRY_MAX)
		return err_unsupported(e,
		    "VHDX metadata: no room for a parent locator of %u bytes",
		    len);
	*off = (uint32_t)at;
	if (len) {
		put_entry(entry_of(table, i), ITEM_LOCATOR, *off, len);
		put_le16(table + 10, (uint16_t)max_u64(n, i + 1));
	} else if (i < n) {
		memmove(entry_of(table, i), entry_of(table, i + 1),
		    (size_t)(n - i - 1) * ENTRY_LEN);
		memset(entry_of(table, n - 1), 0, ENTRY_LEN);
		put_le16(table + 10, (uint16_t)(n - 1));
	}
	return 0;
}
