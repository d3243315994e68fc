/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Fuzz target: the input is a VHD image.  It is looked at as it is, and, where
 * that makes a difference, with checksums that are right, so that damage gets
 * past them.
 */
#include <stdlib.h>
#include <string.h>

#include "formats/core/units.h"
#include "formats/vpc/vpc.h"
#include "look.h"

/* A structure with the checksum at `sum_at`; does it change? */
static bool seal(uint8_t *p, size_t len, size_t sum_at)
{
	uint32_t was = be32(p + sum_at), sum = 0;

	put_be32(p + sum_at, 0);
	for (size_t i = 0; i < len; i++)
		sum += p[i];
	put_be32(p + sum_at, ~sum);
	return was != ~sum;
}

static bool seal_footer(uint8_t *p)
{
	return !memcmp(p, "conectix", 8) && seal(p, VPC_FOOTER_LEN, 64);
}

static bool seal_all(uint8_t *p, size_t len)
{
	uint64_t head = be64(p + 16);
	bool changed = seal_footer(p);

	changed |= seal_footer(p + len - VPC_FOOTER_LEN);
	if (range_ok(head, VPC_HEADER_LEN, len) &&
	    !memcmp(p + head, "cxsparse", 8))
		changed |= seal(p + head, VPC_HEADER_LEN, 36);
	return changed;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	uint8_t *copy;

	fuzz_all("vpc", data, len);
	if (len < VPC_FOOTER_LEN)
		return 0;
	copy = malloc(len);
	if (!copy)
		abort();
	memcpy(copy, data, len);
	if (seal_all(copy, len))
		fuzz_all("vpc", copy, len);
	free(copy);
	return 0;
}
