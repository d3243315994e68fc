/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Numbers from outside: checked arithmetic, rounding, byte order.
 *
 * Bytes of a file are read with be32(p) or le64(p) from `const uint8_t *`, so
 * that alignment and byte order never matter to a caller.
 */
#ifndef IMGD_UNITS_H
#define IMGD_UNITS_H

#include <endian.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#define KiB	   1024ull
#define MiB	   (1024ull * KiB)
#define GiB	   (1024ull * MiB)
#define TiB	   (1024ull * GiB)
#define SECTOR_LEN 512u

#define ARRAY_N(a) (sizeof(a) / sizeof((a)[0]))

/* False when the sum or product does not fit; then *out is not defined. */
static inline bool add_ok(uint64_t a, uint64_t b, uint64_t *out)
{
	return !__builtin_add_overflow(a, b, out);
}

static inline bool mul_ok(uint64_t a, uint64_t b, uint64_t *out)
{
	return !__builtin_mul_overflow(a, b, out);
}

/* Is [off, off + len) inside [0, size)?  Never overflows. */
static inline bool range_ok(uint64_t off, uint64_t len, uint64_t size)
{
	return off <= size && len <= size - off;
}

static inline uint64_t min_u64(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static inline uint64_t max_u64(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

static inline bool is_pow2(uint64_t v)
{
	return v && !(v & (v - 1));
}

/* `unit` of the next three: any > 0. */
static inline uint64_t round_down(uint64_t v, uint64_t unit)
{
	return v - v % unit;
}

/* The caller makes sure that v + unit - 1 fits. */
static inline uint64_t round_up(uint64_t v, uint64_t unit)
{
	return round_down(v + unit - 1, unit);
}

static inline bool is_aligned(uint64_t v, uint64_t unit)
{
	return v % unit == 0;
}

/* Any d > 0; never overflows. */
static inline uint64_t div_up(uint64_t v, uint64_t d)
{
	return v / d + (v % d != 0);
}

/* Position of the highest bit; v > 0. */
static inline unsigned log2_u64(uint64_t v)
{
	return 63u - (unsigned)__builtin_clzll(v);
}

#define UNITS_LOAD_STORE(order, bits, conv_in, conv_out)                       \
	static inline uint##bits##_t order##bits(const uint8_t *p)             \
	{                                                                      \
		uint##bits##_t v;                                              \
		memcpy(&v, p, sizeof v);                                       \
		return conv_in(v);                                             \
	}                                                                      \
	static inline void put_##order##bits(uint8_t *p, uint##bits##_t v)     \
	{                                                                      \
		v = conv_out(v);                                               \
		memcpy(p, &v, sizeof v);                                       \
	}

UNITS_LOAD_STORE(be, 16, be16toh, htobe16)
UNITS_LOAD_STORE(be, 32, be32toh, htobe32)
UNITS_LOAD_STORE(be, 64, be64toh, htobe64)
UNITS_LOAD_STORE(le, 16, le16toh, htole16)
UNITS_LOAD_STORE(le, 32, le32toh, htole32)
UNITS_LOAD_STORE(le, 64, le64toh, htole64)

#undef UNITS_LOAD_STORE

#endif
