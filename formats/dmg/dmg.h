/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * dmg: Apple's disk images in the UDIF format, read only.
 *
 * At the end of the file is a trailer of 512 bytes ("koly").  It tells the size
 * of the disk, where the data fork is, and where the block tables ("mish")
 * are: in an XML property list, or in a resource fork.  There is a table for
 * each part of the disk; its chunks are runs of sectors that are zeroes, do
 * not matter, or are stored in the data fork, as they are or packed.  All
 * numbers are big-endian.
 *
 * The chunks of all tables are kept in one list, sorted by sector.  Sectors
 * that no chunk has are holes.
 */
#ifndef IMGD_DMG_H
#define IMGD_DMG_H

#include "../codec/codec.h"
#include "../driver.h"

#define DMG_TRAILER_LEN 512u
#define DMG_LIST_MAX	(16 * MiB) /* of the property list, the resource fork */

enum dmg_type {
	DMG_ZERO = 0,
	DMG_RAW = 1,
	DMG_IGNORE = 2,
	DMG_COMMENT = 0x7ffffffe,
	DMG_ADC = (int)0x80000004,
	DMG_ZLIB = (int)0x80000005,
	DMG_BZIP2 = (int)0x80000006,
	DMG_LZFSE = (int)0x80000007,
	DMG_XZ = (int)0x80000008,
	DMG_END = (int)0xffffffff,
};

struct dmg_chunk {
	uint64_t sector, sectors; /* of the disk */
	uint64_t host;		  /* of stored ones */
	uint32_t stored;	  /* bytes, of packed ones */
	uint32_t type;		  /* enum dmg_type, or another number */
	uint32_t table;		  /* index of the one that it is in */
};

struct dmg_table {
	uint64_t sector; /* the first of its part */
	bool has_crc;	 /* CRC-32 of the sectors that matter, in order */
	uint32_t crc;
};

struct dmg {
	const char *name;	 /* of the image, for messages */
	uint64_t data;		 /* host: what offsets in tables count from */
	uint64_t list, list_len; /* host: of the property list; 0: none */
	uint64_t rsrc, rsrc_len; /* of the resource fork; 0: none */
	uint64_t sectors;	 /* of the disk */
	struct dmg_chunk *chunk;
	size_t n, max;
	struct dmg_table *table;
	uint32_t table_n;
	bool has_crc; /* of all tables */
	uint32_t crc;
};

/* The codec of packed chunks of a type; CODEC_NONE of all others. */
enum codec dmg_codec(uint32_t type);

/* Is this checksum a CRC-32?  Others are not looked at. */
bool dmg_crc(const uint8_t *p, uint32_t *crc);
int dmg_check(struct image *img, struct img_check *out,
    void (*report)(void *, const char *), void *arg, struct err *e);

bool dmg_is_trailer(const uint8_t *p); /* its first 12 bytes */
/* Find it, and set what it says. */
int dmg_read_trailer(struct dmg *d, struct hostfile *f, struct err *e);
/* Add the chunks of all tables, in any order. */
int dmg_read_tables(struct dmg *d, struct hostfile *f, struct err *e);
/* Add those of one table.  Other resources are passed by. */
int dmg_add_table(
    struct dmg *d, const uint8_t *table, size_t len, struct err *e);
/* All tables of a property list, which is changed, or of a resource fork. */
int dmg_scan_list(struct dmg *d, uint8_t *text, size_t len, struct err *e);
int dmg_scan_resources(
    struct dmg *d, const uint8_t *fork, size_t len, struct err *e);

#endif
