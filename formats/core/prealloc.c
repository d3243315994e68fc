/* SPDX-License-Identifier: BSD-3-Clause */
/* Preallocation: see prealloc.h. */
#include "prealloc.h"

int prealloc_write(
    struct hostfile *f, uint64_t off, uint64_t len, struct err *e)
{
	static const uint8_t zeroes[1u << 20];

	while (len) {
		uint64_t n = min_u64(len, sizeof zeroes);

		if (host_pwrite(f, zeroes, n, off, e))
			return -1;
		off += n;
		len -= n;
	}
	return 0;
}
