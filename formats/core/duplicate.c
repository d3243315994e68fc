/* SPDX-License-Identifier: BSD-3-Clause */
/* A second copy of bytes that a file has: see duplicate.h. */
#include <stdlib.h>

#include "cleanup.h"
#include "duplicate.h"
#include "units.h"

#define PIECE_LEN (1u * MiB)

int duplicate(
    struct hostfile *f, uint64_t from, uint64_t to, uint64_t len, struct err *e)
{
	uint64_t max = min_u64(len, PIECE_LEN), n;
	CLEANUP_FREE uint8_t *buf = malloc(max_u64(max, 1));

	if (!buf)
		return err_nomem(e);
	for (uint64_t at = 0; at < len; at += n) {
		n = min_u64(max, len - at);
		if (host_pread(f, buf, n, from + at, e) ||
		    host_pwrite(f, buf, n, to + at, e))
			return -1;
	}
	return 0;
}
