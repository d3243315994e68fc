/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Fuzz target: the input says how to damage a VHDX image of 6 MiB in memory.
 *
 *   byte 0     1: a differencing disk, 2: a log entry waits to be replayed,
 *              4: checksums stay wrong, 8: sectors of 4096 bytes
 *   then       area (1 byte), offset there (2 bytes, little-endian, of 8
 *              bytes each), number of bytes (1), the bytes
 *
 * Checksums are made right again before the image is looked at, so that damage
 * gets past them.
 */
#include <stdlib.h>

#include "formats/core/units.h"
#include "formats/vhdx/vhdx.h"
#include "look.h"

#define IMAGE_LEN (6 * MiB)
#define LOG	  MiB
#define META	  (2 * MiB)
#define ITEMS	  (META + VHDX_TABLE_LEN)
#define LOCATOR	  (ITEMS + VHDX_SECTOR)
#define BAT	  (3 * MiB)
#define DATA	  (4 * MiB)

#define IS_DIFF	   1u
#define HAS_LOG	   2u
#define WRONG_SUMS 4u
#define SECTOR_4K  8u

/* What an area number means. */
static const uint64_t areas[] = {
    0, 64 * KiB, 128 * KiB, 192 * KiB, LOG, META, ITEMS, LOCATOR, BAT, DATA};

static void must(bool ok)
{
	if (!ok)
		abort();
}

/* A disk of 3 MiB with blocks of 1 MiB. */
static void make(uint8_t *image)
{
	struct err e = ERR_INIT;
	struct options *o = options_new(&e);
	struct hostfile *f = host_open_memory("template", 0, &e);

	must(o && f &&
	     !options_parse(
		 o, "size=3M,block_size=1M,block_state_zero=off", NULL, &e) &&
	     !img_create_host(f, "vhdx", o, &e) &&
	     !host_pread(f, image, IMAGE_LEN, 0, &e));
	options_free(o);
	host_put(f);
}

/* Block 1 is here, and block 2 in part, with a bitmap. */
static void add_parent(uint8_t *image)
{
	const struct vhdx_region meta = {META, MiB};
	char path[] = "./base.vhdx";
	const struct vhdx_locator l = {.relative = path, .linkage = {{1}}};
	struct err e = ERR_INIT;
	uint8_t *locator = calloc(1, VHDX_LOCATOR_MAX);
	int64_t len;
	uint32_t off = 0;

	must(locator);
	len = vhdx_locator_pack(locator, &l, &e);
	must(len > 0 && !vhdx_meta_set_locator(
			    image + META, &meta, (uint32_t)len, &off, &e));
	memcpy(image + META + off, locator, (size_t)len);
	free(locator);
	image[ITEMS + 4] |= 2;
	put_le64(image + BAT + 16, DATA | VHDX_PART);
	put_le64(image + BAT + 4096 * 8, (DATA + MiB) | VHDX_FULL);
	image[DATA + MiB + 512] = 0x5a;
}

/* An entry that moves block 0 and clears the second sector of the BAT. */
static void add_log(uint8_t *image)
{
	uint8_t *entry = image + LOG, *desc = entry + 64;

	for (unsigned i = 0; i < 2; i++)
		image[(i + 1) * 64 * KiB + 48] = 7; /* log GUID */
	memcpy(entry, "loge", 4);
	put_le32(entry + 8, 2 * VHDX_SECTOR);
	put_le64(entry + 16, 1);
	put_le32(entry + 24, 2);
	entry[32] = 7;
	put_le64(entry + 48, 4 * MiB);
	put_le64(entry + 56, IMAGE_LEN);
	memcpy(desc, "desc", 4);
	put_le64(desc + 8, DATA | VHDX_FULL);
	put_le64(desc + 16, BAT);
	put_le64(desc + 24, 1);
	memcpy(desc + 32, "zero", 4);
	put_le64(desc + 40, VHDX_SECTOR);
	put_le64(desc + 48, BAT + VHDX_SECTOR);
	put_le64(desc + 56, 1);
	memcpy(entry + VHDX_SECTOR, "data", 4);
	put_le32(entry + 2 * VHDX_SECTOR - 4, 1);
}

static void damage(uint8_t *image, const uint8_t *data, size_t len)
{
	while (len >= 4) {
		uint64_t at = areas[data[0] % ARRAY_N(areas)];
		size_t n = min_u64(data[3], len - 4);

		at += le16(data + 1) * 8ull;
		memcpy(image + at, data + 4, n);
		data += 4 + n;
		len -= 4 + n;
	}
}

static void sum(uint8_t *image, uint64_t at, size_t len)
{
	put_le32(image + at + 4, vhdx_sum(image + at, len));
}

static void make_right(uint8_t *image)
{
	uint32_t entry_len = le32(image + LOG + 8);

	for (unsigned i = 1; i <= 2; i++) {
		sum(image, i * 64 * KiB, VHDX_HEADER_LEN);
		sum(image, VHDX_REGION_HOST + (i - 1) * VHDX_TABLE_LEN,
		    VHDX_TABLE_LEN);
	}
	if (entry_len >= VHDX_SECTOR && entry_len <= MiB)
		sum(image, LOG, entry_len);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	uint8_t *image, how = len ? data[0] : 0;

	image = malloc(IMAGE_LEN);
	must(image);
	make(image);
	put_le64(image + BAT + 8, DATA | VHDX_FULL);
	if (how & IS_DIFF)
		add_parent(image);
	if (how & HAS_LOG)
		add_log(image);
	if (how & SECTOR_4K)
		put_le32(image + ITEMS + 32, 4096);
	if (len)
		damage(image, data + 1, len - 1);
	if (!(how & WRONG_SUMS))
		make_right(image);
	fuzz_all("vhdx", image, IMAGE_LEN);
	free(image);
	return 0;
}
