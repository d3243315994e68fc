/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What each sector of a disk may hold after a crash: what it held when the
 * last flush ended, or anything that was put there since.
 *
 * A sector's content is a value: zeroes, what the base holds there, or a stamp
 * that names the sector and a version, so that stale and foreign sectors are
 * told apart from right ones.
 *
 * Threads: all functions, any thread, except that ledger_copy() wants a ledger
 * that is frozen, and init, free come first and last.
 */
#ifndef TEST_LEDGER_H
#define TEST_LEDGER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "formats/core/lock.h"

#define LEDGER_SECTOR 512u
#define LEDGER_ZERO   0u
#define LEDGER_BASE   1u /* stamps have versions from 2 on */

struct ledger_sector {
	uint64_t *value; /* [0] as flushed; the last one is current */
	uint32_t n, max;
};

struct ledger {
	struct mutex lock;
	uint64_t sector_n;
	struct ledger_sector *sector;
	const uint8_t *base; /* all bytes; NULL zeroes */
};

/* All sectors hold LEDGER_BASE if there is a base, else zeroes; flushed. */
void ledger_init(struct ledger *l, uint64_t sector_n, const uint8_t *base);
void ledger_free(struct ledger *l);
/* The content of a sector with this value. */
void ledger_fill(
    const struct ledger *l, uint8_t *buf, uint64_t sector, uint64_t value);
/* Sectors [first, first + n) hold this value now. */
void ledger_put(struct ledger *l, uint64_t first, uint64_t n, uint64_t value);
/* They hold zeroes, or what is current, which stays it until it is read. */
void ledger_trim(struct ledger *l, uint64_t first, uint64_t n);
/* Everything that is current is durable. */
void ledger_flush(struct ledger *l);
/* The same for a range alone. */
void ledger_flush_range(struct ledger *l, uint64_t first, uint64_t n);
/*
 * May a crashed disk hold these bytes from `first` on?  False: *bad is the
 * first sector that it must not.
 */
bool ledger_allows(struct ledger *l, const uint8_t *buf, uint64_t first,
    uint64_t n, uint64_t *bad);
/*
 * The bytes are what the disk holds now, of what is allowed: they become
 * current.  False as above.
 */
bool ledger_settle(struct ledger *l, const uint8_t *buf, uint64_t first,
    uint64_t n, uint64_t *bad);
/* Do these bytes hold the current values? */
bool ledger_current(struct ledger *l, const uint8_t *buf, uint64_t first,
    uint64_t n, uint64_t *bad);
/* Until ledger_thaw() nothing changes. */
void ledger_freeze(struct ledger *l) ACQUIRES(&l->lock);
void ledger_thaw(struct ledger *l) RELEASES(&l->lock);
/* A deep copy of a frozen ledger. */
void ledger_copy(struct ledger *to, const struct ledger *from);

#endif
