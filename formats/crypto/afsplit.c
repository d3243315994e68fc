/* SPDX-License-Identifier: BSD-3-Clause */
/* The anti-forensic splitter: see afsplit.h, and the LUKS1 specification. */
#include <string.h>

#include "../core/units.h"
#include "afsplit.h"
#include "hash.h"
#include "keymem.h"

/* Each piece as long as a digest becomes the digest of its number and itself;
 * of the last one as much as there was. */
static void diffuse(int hash, uint8_t *buf, size_t len)
{
	uint8_t in[4 + HASH_LEN_MAX], out[HASH_LEN_MAX];
	size_t piece = hash_len(hash);

	for (size_t at = 0; at < len; at += piece) {
		size_t n = min_u64(piece, len - at);

		put_be32(in, (uint32_t)(at / piece));
		memcpy(in + 4, buf + at, n);
		hash_bytes(hash, in, 4 + n, out);
		memcpy(buf + at, out, n);
	}
	keymem_wipe(in, sizeof in);
	keymem_wipe(out, sizeof out);
}

static void mix(uint8_t *sum, const uint8_t *stripe, size_t len)
{
	for (size_t i = 0; i < len; i++)
		sum[i] ^= stripe[i];
}

/* What all stripes but the last one make. */
static void gather(
    int hash, const uint8_t *in, size_t len, uint32_t stripes, uint8_t *sum)
{
	memset(sum, 0, len);
	for (uint32_t i = 0; i + 1 < stripes; i++) {
		mix(sum, in + i * len, len);
		diffuse(hash, sum, len);
	}
}

int af_split(int hash, const uint8_t *key, size_t len, uint32_t stripes,
    uint8_t *out, struct err *e)
{
	uint8_t *last = out + (stripes - 1) * len;

	if (random_bytes(out, (stripes - 1) * len, e))
		return -1;
	gather(hash, out, len, stripes, last);
	mix(last, key, len);
	return 0;
}

void af_merge(
    int hash, const uint8_t *in, size_t len, uint32_t stripes, uint8_t *key)
{
	gather(hash, in, len, stripes, key);
	mix(key, in + (stripes - 1) * len, len);
}
