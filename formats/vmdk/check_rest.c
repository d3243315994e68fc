/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What only the redundant tables have: a table that the first directory does
 * not lead to, or lost, and entries that are empty in the first table.
 *
 * Their grains are no leaks, where they are nobody else's; a whole repair takes
 * them over.
 */
#include <errno.h>

#include "check.h"

/* Grains that are nobody's are taken: how many? */
static int take_entries(struct check *c, uint32_t *n, struct err *e)
{
	*n = 0;
	for (uint32_t i = 0; i < c->x->gt_n; i++) {
		size_t at = 4 * (size_t)i;
		uint64_t host;

		if (le32(c->gt + at) || !le32(c->copy + at) ||
		    !check_is_right(c, c->copy, i))
			continue;
		if (vmdk_gte_get(c->x, c->copy, i, vmdk_end(c->x), &host) ==
			VMDK_GTE_DATA &&
		    check_use(c, host, e))
			return -1;
		memcpy(c->gt + at, c->copy + at, 4);
		++*n;
	}
	return 0;
}

/* The table goes to the end of the file, and then into the directory. */
static int restore_table(struct check *c, uint64_t gd_ix, struct err *e)
{
	struct vmdk_extent *x = c->x;
	uint64_t host = round_up(host_size(x->file), x->grain_len);
	uint8_t entry[4];

	if (host + x->grain_len > VMDK_HOST_MAX)
		return err_set(e, ERR_SYSTEM, ENOSPC,
		    "%s: a sparse extent takes at most 2 TiB", x->file->name);
	put_le32(entry, (uint32_t)(host / SECTOR_LEN));
	return host_grow(
		   x->file, host + round_up(x->gt_len, x->grain_len), e) ||
		       host_pwrite(x->file, c->gt, x->gt_len, host, e) ||
		       host_sync(x->file, e) ||
		       host_pwrite(
			   x->file, entry, 4, x->gd_host + 4 * gd_ix, e) ||
		       check_claim(c, "grain table", host, x->gt_len, e)
		   ? -1
		   : 0;
}

/* `n` entries are new; what the redundant table has besides means nothing. */
static int write_both(struct check *c, uint64_t host, uint64_t copy_host,
    uint32_t n, struct err *e)
{
	struct hostfile *f = c->x->file;

	if (!memcmp(c->gt, c->copy, c->x->gt_len) && !n)
		return 0;
	c->leaks_fixed++;
	return (n && host_pwrite(f, c->gt, c->x->gt_len, host, e)) ||
		       host_pwrite(f, c->gt, c->x->gt_len, copy_host, e)
		   ? -1
		   : 0;
}

/* After all entries that are read: those go before these. */
int check_rest(struct check *c, uint64_t gd_ix, struct err *e)
{
	struct vmdk_extent *x = c->x;
	struct err ignored = ERR_INIT;
	uint64_t host = 0, copy_host = 0;
	bool bad = vmdk_gde(x, x->gd_host, gd_ix, &host, &ignored);
	uint32_t n;

	if (bad)
		host = 0;
	if (vmdk_gde(x, x->rgd_host, gd_ix, &copy_host, &ignored) || !copy_host)
		return 0;
	memset(c->gt, 0, x->gt_len);
	if (check_read_table(c, c->copy, copy_host, e) ||
	    check_read_table(c, c->gt, host, e) || take_entries(c, &n, e))
		return -1;
	if (!host && !bad && n)
		check_report_leak(
		    c, "only the redundant directory has table", gd_ix);
	if (!c->all || (!n && !bad && !host))
		return 0;
	if (host)
		return write_both(c, host, copy_host, n, e);
	c->corruptions_fixed += bad;
	c->leaks_fixed += !bad;
	return restore_table(c, gd_ix, e);
}
