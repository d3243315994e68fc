/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * One reference count in a refcount block: 1 << order bits wide, order 0 to 6.
 * Below a byte, bit 0 of a byte belongs to its first entry.
 */
#ifndef IMGD_QCOW2_REFBITS_H
#define IMGD_QCOW2_REFBITS_H

#include "../core/units.h"

/* The highest count. */
static inline uint64_t refbits_max(unsigned order)
{
	return order == 6 ? UINT64_MAX : (1ull << (1u << order)) - 1;
}

static inline uint64_t refbits_get(
    const uint8_t *block, unsigned order, uint64_t ix)
{
	switch (order) {
	case 3:
		return block[ix];
	case 4:
		return be16(block + ix * 2);
	case 5:
		return be32(block + ix * 4);
	case 6:
		return be64(block + ix * 8);
	default: {
		unsigned bits = 1u << order, per_byte = 8 >> order;
		unsigned shift = (unsigned)(ix % per_byte) * bits;

		return block[ix / per_byte] >> shift & ((1u << bits) - 1);
	}
	}
}

static inline void refbits_put(
    uint8_t *block, unsigned order, uint64_t ix, uint64_t value)
{
	switch (order) {
	case 3:
		block[ix] = (uint8_t)value;
		break;
	case 4:
		put_be16(block + ix * 2, (uint16_t)value);
		break;
	case 5:
		put_be32(block + ix * 4, (uint32_t)value);
		break;
	case 6:
		put_be64(block + ix * 8, value);
		break;
	default: {
		unsigned bits = 1u << order, per_byte = 8 >> order;
		unsigned shift = (unsigned)(ix % per_byte) * bits;
		uint8_t *p = &block[ix / per_byte];
		unsigned mask = ((1u << bits) - 1) << shift;

		*p = (uint8_t)((*p & ~mask) | ((value << shift) & mask));
	}
	}
}

#endif
