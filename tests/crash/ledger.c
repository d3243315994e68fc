/* SPDX-License-Identifier: BSD-3-Clause */
/* What each sector may hold after a crash: see ledger.h. */
#include <stdlib.h>
#include <string.h>

#include "formats/core/units.h"
#include "ledger.h"

void ledger_init(struct ledger *l, uint64_t sector_n, const uint8_t *base)
{
	mutex_init(&l->lock);
	l->sector_n = sector_n;
	l->base = base;
	l->sector = calloc(sector_n, sizeof *l->sector);
	if (!l->sector)
		abort();
	ledger_put(l, 0, sector_n, base ? LEDGER_BASE : LEDGER_ZERO);
	ledger_flush(l);
}

void ledger_free(struct ledger *l)
{
	for (uint64_t i = 0; i < l->sector_n; i++)
		free(l->sector[i].value);
	free(l->sector);
	mutex_destroy(&l->lock);
}

void ledger_freeze(struct ledger *l) NO_TSA
{
	mutex_lock(&l->lock);
}

void ledger_thaw(struct ledger *l) NO_TSA
{
	mutex_unlock(&l->lock);
}

void ledger_copy(struct ledger *to, const struct ledger *from)
{
	ledger_init(to, from->sector_n, from->base);
	for (uint64_t i = 0; i < from->sector_n; i++) {
		const struct ledger_sector *s = &from->sector[i];

		to->sector[i].n = 0;
		for (uint32_t k = 0; k < s->n; k++)
			ledger_put(to, i, 1, s->value[k]);
	}
}

void ledger_fill(
    const struct ledger *l, uint8_t *buf, uint64_t sector, uint64_t value)
{
	if (value == LEDGER_ZERO) {
		memset(buf, 0, LEDGER_SECTOR);
	} else if (value == LEDGER_BASE) {
		memcpy(buf, l->base + sector * LEDGER_SECTOR, LEDGER_SECTOR);
	} else {
		for (unsigned i = 0; i < LEDGER_SECTOR; i += 16) {
			put_be64(buf + i, ~sector);
			put_be64(buf + i + 8, value);
		}
	}
}

/* A value that was there before moves to the end. */
static void put_one(struct ledger_sector *s, uint64_t value)
{
	uint32_t keep = 0;

	for (uint32_t i = 0; i < s->n; i++)
		if (i == 0 || s->value[i] != value)
			s->value[keep++] = s->value[i];
	s->n = keep;
	if (s->n == s->max) {
		s->max = s->max ? 2 * s->max : 4;
		s->value = reallocarray(s->value, s->max, sizeof *s->value);
		if (!s->value)
			abort();
	}
	s->value[s->n++] = value;
}

void ledger_put(struct ledger *l, uint64_t first, uint64_t n, uint64_t value)
{
	mutex_lock(&l->lock);
	for (uint64_t i = first; i < first + n; i++)
		put_one(&l->sector[i], value);
	mutex_unlock(&l->lock);
}

static uint64_t *current(struct ledger_sector *s)
{
	return &s->value[s->n - 1];
}

void ledger_trim(struct ledger *l, uint64_t first, uint64_t n)
{
	mutex_lock(&l->lock);
	for (uint64_t i = first; i < first + n; i++) {
		uint64_t now = *current(&l->sector[i]);

		put_one(&l->sector[i], LEDGER_ZERO);
		put_one(&l->sector[i], now);
	}
	mutex_unlock(&l->lock);
}

void ledger_flush_range(struct ledger *l, uint64_t first, uint64_t n)
{
	mutex_lock(&l->lock);
	for (uint64_t i = first; i < first + n; i++) {
		l->sector[i].value[0] = *current(&l->sector[i]);
		l->sector[i].n = 1;
	}
	mutex_unlock(&l->lock);
}

void ledger_flush(struct ledger *l)
{
	ledger_flush_range(l, 0, l->sector_n);
}

/* Which of its values from the k-th on the sector holds; -1 none. */
static int64_t find(
    const struct ledger *l, const uint8_t *buf, uint64_t sector, uint32_t k)
{
	const struct ledger_sector *s = &l->sector[sector];
	uint8_t want[LEDGER_SECTOR];

	for (uint32_t i = s->n; i-- > k;) {
		ledger_fill(l, want, sector, s->value[i]);
		if (!memcmp(want, buf, LEDGER_SECTOR))
			return i;
	}
	return -1;
}

/* Compare; with `settle` what is found becomes current. */
static bool compare(struct ledger *l, const uint8_t *buf, uint64_t first,
    uint64_t n, bool any, bool settle, uint64_t *bad)
{
	int64_t at = 0;

	mutex_lock(&l->lock);
	for (uint64_t i = first; i < first + n && at >= 0; i++) {
		struct ledger_sector *s = &l->sector[i];

		*bad = i;
		at = find(l, buf, i, any ? 0 : s->n - 1);
		buf += LEDGER_SECTOR;
		if (settle && at >= 0)
			put_one(s, s->value[at]);
	}
	mutex_unlock(&l->lock);
	return at >= 0;
}

bool ledger_allows(struct ledger *l, const uint8_t *buf, uint64_t first,
    uint64_t n, uint64_t *bad)
{
	return compare(l, buf, first, n, true, false, bad);
}

bool ledger_current(struct ledger *l, const uint8_t *buf, uint64_t first,
    uint64_t n, uint64_t *bad)
{
	return compare(l, buf, first, n, false, false, bad);
}

bool ledger_settle(struct ledger *l, const uint8_t *buf, uint64_t first,
    uint64_t n, uint64_t *bad)
{
	return compare(l, buf, first, n, true, true, bad);
}
