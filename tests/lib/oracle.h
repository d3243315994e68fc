/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a disk must hold, byte for byte.
 *
 * A byte that was trimmed may be as before or zero, until it has been read:
 * from then on it stays what it was seen to be.
 */
#ifndef TEST_ORACLE_H
#define TEST_ORACLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct oracle {
	uint64_t size;
	uint8_t *data;
	uint8_t *trimmed; /* 1: may be data or zero */
	bool any_trimmed;
};

/* All zeroes. Ends the program when out of memory. */
void oracle_init(struct oracle *o, uint64_t size);
void oracle_free(struct oracle *o);
void oracle_write(
    struct oracle *o, const void *buf, uint64_t len, uint64_t off);
void oracle_zero(struct oracle *o, uint64_t len, uint64_t off);
void oracle_trim(struct oracle *o, uint64_t len, uint64_t off);
/*
 * These bytes were read.  False when they cannot be; *bad is the offset of the
 * first one that is wrong.
 */
bool oracle_read(struct oracle *o, const void *buf, uint64_t len, uint64_t off,
    uint64_t *bad);
/* Must the range read as zeroes, once trimmed bytes are settled? */
bool oracle_is_zero(const struct oracle *o, uint64_t len, uint64_t off);

#endif
