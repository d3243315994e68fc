/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Grains that no entry points to, and that hold more than zeroes.
 *
 * A repair gives their space back, but not while an entry or a table is damaged
 * that may have pointed to them.
 */
#include <stdlib.h>

#include "check.h"

/* 1 there is more than zeroes and holes, 0 not, -1 failed. */
static int holds_data(const struct check *c, uint64_t host, struct err *e)
{
	uint64_t size = host_size(c->x->file);
	uint64_t len = min_u64(c->x->grain_len, size - host);
	struct host_extent h = {.hole = true};
	CLEANUP_FREE uint8_t *buf = NULL;

	if (host_map(c->x->file, host, len, &h, e))
		return -1;
	if (h.hole && h.len >= len)
		return 0;
	buf = malloc(len);
	if (!buf)
		return err_nomem(e);
	if (host_pread(c->x->file, buf, len, host, e))
		return -1;
	return !is_zero(buf, len);
}

static int check_leak(struct check *c, uint64_t host, struct err *e)
{
	uint64_t size = host_size(c->x->file);
	int data = holds_data(c, host, e);

	if (data <= 0)
		return data;
	check_report_leak(c, "nothing points to the grain at", host);
	if (!c->leaks_too || c->r.out->corruptions > c->corruptions_fixed)
		return 0;
	if (host_punch(
		c->x->file, host, min_u64(c->x->grain_len, size - host), e) < 0)
		return -1;
	c->leaks_fixed += !holds_data(c, host, e);
	return 0;
}

int check_leaks(struct check *c, struct err *e)
{
	const struct vmdk_extent *x = c->x;
	uint64_t sectors = x->grain_len / SECTOR_LEN;
	uint64_t size = host_size(x->file);

	for (uint64_t ix = 0; c->any && c->lag + ix * x->grain_len < size;
	     ix++) {
		uint64_t host = c->lag + ix * x->grain_len;

		if (clusterset_any(&c->used, ix, 1) ||
		    clusterset_any(&c->odd, ix, 1) ||
		    clusterset_any(&c->meta, host / SECTOR_LEN, sectors) ||
		    host < x->h.overhead * SECTOR_LEN)
			continue;
		if (check_leak(c, host, e))
			return -1;
	}
	return 0;
}
