/* SPDX-License-Identifier: BSD-3-Clause */
/* Finding zeroes in data. */
#ifndef IMGD_ZERO_H
#define IMGD_ZERO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

bool is_zero(const void *buf, size_t len);
/* Bytes before the first piece of `grain` bytes that is not all zero; the last
 * piece may be shorter. */
size_t zero_prefix(const uint8_t *buf, size_t len, size_t grain);

struct zero_run {
	size_t len; /* > 0 */
	bool zero;
};
/*
 * The first run of a buffer of len > 0 bytes: zeroes, or data up to the next
 * zeroes.  Runs are whole pieces of `grain` bytes; zeroes shorter than `min`
 * are data, unless they are all of the buffer.  min 0: all is data.
 */
struct zero_run zero_run_first(
    const uint8_t *buf, size_t len, size_t grain, size_t min);

#endif
