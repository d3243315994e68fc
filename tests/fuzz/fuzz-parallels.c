/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Fuzz target: the input is a Parallels image.  Its bitmaps are looked at with
 * a checksum that is right, so that damage gets past it.
 */
#include <stdlib.h>
#include <string.h>

#include "formats/core/units.h"
#include "formats/crypto/hash.h"
#include "formats/parallels/parallels.h"
#include "look.h"

#define EXT_HEAD_LEN 24u

/* The checksum of the format extension, if there can be one. */
static void seal(uint8_t *p, size_t len)
{
	uint8_t sum[HASH_LEN_MAX];
	struct err e = ERR_INIT;
	uint64_t at, cluster_len;
	int md5 = hash_need("md5", &e);

	if (len < PARALLELS_HEADER_LEN || !md5)
		return;
	cluster_len = (uint64_t)le32(p + PARALLELS_F_CLUSTER) * SECTOR_LEN;
	if (!cluster_len || !mul_ok(le64(p + PARALLELS_F_EXT), 512, &at) ||
	    !range_ok(at, cluster_len, len))
		return;
	hash_bytes(md5, p + at + EXT_HEAD_LEN, cluster_len - EXT_HEAD_LEN, sum);
	memcpy(p + at + 8, sum, hash_len(md5));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	uint8_t *copy = malloc(len + 1);
	struct image *img;

	if (!copy)
		abort();
	memcpy(copy, data, len);
	seal(copy, len);
	img = fuzz_open("parallels", copy, len, 0);
	if (img) {
		fuzz_bitmaps(img);
		img_drop(img);
	}
	fuzz_all("parallels", copy, len);
	fuzz_look("parallels", data, len);
	free(copy);
	return 0;
}
